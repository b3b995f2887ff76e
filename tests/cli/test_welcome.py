"""The welcome text of a hub: what is ready to paste, and no secret where nobody watches."""

import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from hookbot.access.tokens import Digest, make_token
from hookbot.cli.main import cli
from hookbot.cli.welcome import welcome
from hookbot.hub.config import Config
from hookbot.hub.secret_store import StoredSecret

URL = "http://localhost:8080"
KEY = "the key of the hub"

pytestmark = pytest.mark.usefixtures("environment")


def config_in(tmp_path: Path, **options: Any) -> Config:
    (tmp_path / "key").write_text(f"{KEY}\n")
    return Config(**{"key": StoredSecret(KEY, tmp_path / "key"), "data_dir": tmp_path, **options})


def lines_of(text: str) -> dict[str, str]:
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}


def test_on_a_terminal_everything_is_ready_to_paste(tmp_path: Path) -> None:
    text = welcome(config_in(tmp_path), URL, secrets=True)
    lines = lines_of(text)

    publish = f"http://{make_token(KEY, '/pub/hello')}@localhost:8080/pub/hello"
    assert text.startswith(f"hookbot listens on {URL}\n")
    assert lines["Publish"] == publish
    assert lines["Subscribe"] == f"ws://{make_token(KEY, '/sub/hello')}@localhost:8080/sub/hello"
    assert shlex.split(lines["Try it"]) == ["curl", "-d", "hello, world", publish]


def test_all_addresses_are_told(tmp_path: Path) -> None:
    text = welcome(config_in(tmp_path), URL, (URL, "unix:/run/hub"), secrets=False)

    assert text.startswith(f"hookbot listens on {URL}, unix:/run/hub\n")


def test_the_console_is_shown_with_what_opens_it(tmp_path: Path) -> None:
    shown = lines_of(welcome(config_in(tmp_path), URL, secrets=True))
    behind_proxy = lines_of(welcome(config_in(tmp_path, public_url="https://example.com/hooks"), URL, secrets=False))
    without = lines_of(welcome(config_in(tmp_path, console=False), URL, secrets=True))

    assert (shown["Console"], shown["sign in"]) == (f"{URL}/hookbot/", make_token(KEY, "/"))
    assert (behind_proxy["Console"], "sign in" in behind_proxy) == ("https://example.com/hooks/hookbot/", False)
    assert "Console" not in without


@pytest.mark.parametrize(
    "github_secrets", [(), (StoredSecret("the secret of GitHub", Path("/var/lib/github-secret")),)]
)
def test_elsewhere_there_is_no_secret_and_no_token(tmp_path: Path, github_secrets: tuple[StoredSecret]) -> None:
    text = welcome(config_in(tmp_path, github_secrets=github_secrets), URL, secrets=False)

    assert KEY not in text
    assert "the secret of GitHub" not in text
    assert make_token(KEY, "/pub/hello") not in text
    assert make_token(KEY, "/sub/hello") not in text
    assert make_token(KEY, "/") not in text
    assert str(tmp_path / "key") in text
    assert "hookbot make-tokens" in text


@pytest.mark.parametrize("secrets", [True, False])
@pytest.mark.parametrize("options", [{}, {"sha1_tokens": False}])
def test_the_command_that_it_names_makes_tokens_that_the_hub_honours(
    tmp_path: Path, secrets: bool, options: dict[str, bool], environment: pytest.MonkeyPatch
) -> None:
    environment.delenv("HOOKBOT_DATA_DIR")
    command = lines_of(welcome(config_in(tmp_path, **options), URL, secrets=secrets))["Tokens"]

    result = CliRunner().invoke(cli, shlex.split(command)[1:])

    digest: Digest = "sha256" if options else "sha1"
    assert result.stdout.splitlines() == [
        f"http://{make_token(KEY, '/pub/TOPIC', digest)}@localhost:8080/pub/TOPIC",
        f"ws://{make_token(KEY, '/sub/TOPIC', digest)}@localhost:8080/sub/TOPIC",
    ]


def test_a_hub_that_refuses_the_old_kind_of_token_shows_the_new_one(tmp_path: Path) -> None:
    text = welcome(config_in(tmp_path, sha1_tokens=False), URL, secrets=True)
    assert make_token(KEY, "/pub/hello", "sha256") in text
    assert make_token(KEY, "/pub/hello") not in text


def test_a_new_key_is_told_of(tmp_path: Path) -> None:
    old = config_in(tmp_path)
    new = config_in(tmp_path, key=StoredSecret(KEY, tmp_path / "key", new=True))
    assert "A new key was made in" in welcome(new, URL, secrets=False)
    assert "A new key was made in" not in welcome(old, URL, secrets=False)


@pytest.mark.parametrize(("kept", "given"), [(None, {"HOOKBOT_KEY": KEY}), ("k e y", {})])
def test_with_a_key_from_elsewhere_the_command_uses_that_key_or_none(
    tmp_path: Path, kept: str | None, given: dict[str, str]
) -> None:
    path = tmp_path / kept if kept else None
    if path:
        path.write_text(KEY)
    lines = lines_of(welcome(config_in(tmp_path, key=StoredSecret(KEY, path)), URL, secrets=False))
    assert KEY not in lines["Tokens"]

    environ = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HOOKBOT_DATA_DIR": str(tmp_path / "empty")}
    command = ["sh", "-c", lines["Tokens"]]
    made = subprocess.run(command, env=environ | given, capture_output=True, text=True, check=True)
    without = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)

    assert made.stdout.splitlines()[0] == f"http://{make_token(KEY, '/pub/TOPIC')}@localhost:8080/pub/TOPIC"
    assert without.stdout == made.stdout if kept else "HOOKBOT_KEY" in without.stderr
    assert not (tmp_path / "empty").exists()


@pytest.mark.parametrize(
    ("secret", "shown", "hidden"),
    [
        (StoredSecret("s3cret", Path("/var/lib/github-secret")), "s3cret", "the contents of /var/lib/github-secret"),
        (StoredSecret("s3cret"), "s3cret", "the one that was given to the hub"),
    ],
)
def test_the_form_of_github_can_be_filled_in(tmp_path: Path, secret: StoredSecret, shown: str, hidden: str) -> None:
    given = config_in(tmp_path, github_secrets=(secret, StoredSecret("an older one")))
    on_terminal = lines_of(welcome(given, URL, secrets=True))
    elsewhere = lines_of(welcome(given, URL, secrets=False))

    assert on_terminal["Payload URL"] == f"{URL}/unsafe/pub/github.com/org/YOUR-ORGANISATION"
    assert on_terminal["Content type"] == "application/json"
    assert on_terminal["Secret"] == shown
    assert elsewhere["Secret"] == hidden


def test_without_the_github_router_there_is_no_form(tmp_path: Path) -> None:
    assert "GitHub" not in welcome(config_in(tmp_path), URL, secrets=True)
