"""The configuration of a hub: every option arrives, and keys and secrets are found."""

from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from hookbot.access.client_address import TrustedProxies
from hookbot.access.rate_limits import Rate
from hookbot.access.tokens import make_token
from hookbot.cli.configure import find_config
from hookbot.cli.main import cli
from hookbot.cli.serve import serve
from hookbot.errors import ConfigError
from hookbot.hub.config import Config
from hookbot.hub.reload import make_access_control
from hookbot.hub.secret_store import StoredSecret
from hookbot.log.retention import Retention

SHARED = ("--store", "postgresql://user:s3cret@db/hooks")

pytestmark = pytest.mark.usefixtures("environment")


def configure(*args: Any, key: str | None = None, github_secret: str | None = None) -> Config:
    parent = click.Context(cli, obj={"key": key, "github_secret": github_secret})
    with serve.make_context("serve", list(args), parent=parent) as context:
        return find_config(context)


def test_without_options_the_defaults_are_those_that_are_documented(tmp_path: Path) -> None:
    config = configure(key="k")

    assert config.bind == ()
    assert config.data_dir == tmp_path / "data"
    assert config.store == "sqlite:"
    assert config.retention == Retention(
        max_age_s=7 * 86400, max_bytes=1 << 30, max_count=None, max_unsafe_bytes=256 << 20, dedup_s=86400
    )
    assert (config.max_body_bytes, config.heartbeat_s, config.stall_s, config.grace_s) == (25 << 20, 15, 90, 10)
    assert (config.routers, config.unsafe_prefixes, config.sha1_tokens, config.door) == ((), ("",), True, True)


def test_every_option_arrives(tmp_path: Path) -> None:
    for name in ("key.pem", "crt.pem", "ca.pem"):
        (tmp_path / name).touch()
    (tmp_path / "revoked").write_text("# lost\nlaptop\nold.ci\n")
    options = {
        "-b": "127.0.0.1:81",
        "-k": str(tmp_path / "key.pem"),
        "-c": str(tmp_path / "crt.pem"),
        "--sslca": str(tmp_path / "ca.pem"),
        "--data-dir": str(tmp_path / "elsewhere"),
        "--store": "memory:",
        "--advertise": "http://10.0.0.5:8080",
        "--keep": "1h",
        "--keep-bytes": "1MiB",
        "--keep-count": "5",
        "--keep-unsafe-bytes": "2MiB",
        "--dedup-window": "2h",
        "--plain-tokens": "live",
        "--revoked": str(tmp_path / "revoked"),
        "--trust-proxy": "1",
        "--failure-rate": "5/m",
        "--publish-rate": "9/s",
        "--max-subscribers": "7",
        "--max-subscribers-per-token": "3",
        "--max-connections-per-address": "11",
        "--max-body": "1MiB",
        "--cors-origin": "https://a.example",
        "--heartbeat": "5s",
        "--stall-timeout": "6s",
        "--grace": "7s",
        "--unsafe": "github.com/",
        "--public-url": "https://hooks.example.com/hub/",
    }
    switches = ("--no-sha1", "--no-door", "--no-console")
    config = configure(*(word for option in options.items() for word in option), *switches, key="k")

    assert config.bind == ("127.0.0.1:81",)
    assert (config.tls_key, config.tls_certificate) == (tmp_path / "key.pem", tmp_path / "crt.pem")
    assert config.tls_client_authorities == tmp_path / "ca.pem"
    assert (config.data_dir, config.store) == (tmp_path / "elsewhere", "memory:")
    assert config.advertise == "http://10.0.0.5:8080"
    assert config.retention == Retention(
        max_age_s=3600, max_bytes=1 << 20, max_count=5, max_unsafe_bytes=2 << 20, dedup_s=7200
    )
    assert config.revoked == {"laptop", "old.ci"}
    assert config.trusted_proxies == TrustedProxies.parse("1")
    assert (config.failure_rate, config.publish_rate) == (Rate(5, 60), Rate(9, 1))
    assert (config.max_subscribers, config.max_subscribers_per_token) == (7, 3)
    assert config.max_connections_per_address == 11
    assert (config.max_body_bytes, config.heartbeat_s, config.stall_s, config.grace_s) == (1 << 20, 5, 6, 7)
    assert config.cors_origins == ("https://a.example",)
    assert (config.sha1_tokens, config.sha1_tokens_live_only, config.door) == (False, True, False)
    assert config.unsafe_prefixes == ("github.com/",)
    assert (config.public_url, config.console) == ("https://hooks.example.com/hub", False)


def test_every_option_can_stand_in_the_environment(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("HOOKBOT_BIND", "127.0.0.1:82")
    environment.setenv("HOOKBOT_KEEP", "1d")
    environment.setenv("HOOKBOT_NO_SHA1", "1")
    config = configure(key="k")
    assert (config.bind, config.retention.max_age_s, config.sha1_tokens) == (("127.0.0.1:82",), 86400, False)


def test_without_a_key_one_is_made_and_make_tokens_finds_it() -> None:
    config = configure()
    result = CliRunner().invoke(cli, ["make-tokens", "--bare", "/pub/foo"])

    assert config.key.new
    assert result.stdout.strip() == make_token(config.key.value, "/pub/foo")
    assert configure().key == StoredSecret(config.key.value, config.key.path)


def test_a_key_that_make_tokens_made_is_the_hubs() -> None:
    result = CliRunner().invoke(cli, ["make-tokens", "-U", "http://localhost:1", "--bare", "/pub/foo"])
    assert result.stdout.strip() == make_token(configure().key.value, "/pub/foo")


@pytest.mark.parametrize("how", ["variable", "file", "kept"])
def test_earlier_keys_are_honoured(environment: pytest.MonkeyPatch, tmp_path: Path, how: str) -> None:
    file = tmp_path / ("data/old-keys" if how == "kept" else "mounted")
    file.parent.mkdir(exist_ok=True)
    file.write_text("older\noldest\n")
    if how == "variable":
        environment.setenv("HOOKBOT_OLD_KEYS", "older\noldest")
    elif how == "file":
        environment.setenv("HOOKBOT_OLD_KEYS_FILE", str(file))
    assert configure(key="k").keys == ("k", "older", "oldest")


def test_github_has_a_secret_only_where_its_router_runs(tmp_path: Path) -> None:
    assert configure(key="k").github_secrets == ()
    assert not (tmp_path / "data/github-secret").exists()

    [secret] = configure("--router", "github", key="k").github_secrets
    assert (secret.path, secret.new) == (tmp_path / "data/github-secret", True)


def test_hubs_that_share_a_store_have_secrets_that_none_of_them_makes(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no key, and all hubs that share a store need the same one"):
        configure(*SHARED)
    with pytest.raises(ConfigError, match="there is no secret for GitHub's webhooks"):
        configure(*SHARED, "--router", "github", key="k")

    config = configure(*SHARED, "--router", "github", key="k", github_secret="given")
    assert (config.shared, config.keys, config.github_secrets) == (True, ("k",), (StoredSecret("given"),))
    assert not (tmp_path / "data").exists()


def test_a_hub_that_shares_its_store_needs_no_directory(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environment.delenv("HOOKBOT_DATA_DIR")
    environment.setenv("HOME", str(tmp_path / "file" / "home"))
    (tmp_path / "file").touch()

    config = configure(*SHARED, key="k")
    assert list(make_access_control(config).near_misses.routers()) == []
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("how", ["option", "variable", "file"])
def test_the_password_of_a_store_is_not_shown_where_it_is_wrong(
    environment: pytest.MonkeyPatch, tmp_path: Path, how: str
) -> None:
    store, file = "postgresql://user:s3cret@@db", tmp_path / "hookbot.toml"
    file.write_text(f"store = '{store}'")
    if how == "variable":
        environment.setenv("HOOKBOT_STORE", store)
    args = {"option": ["--store", store], "variable": [], "file": ["--config", str(file)]}[how]

    with pytest.raises((ConfigError, click.UsageError)) as caught:
        configure(*args, key="k")
    assert "the address of PostgreSQL is malformed" in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_a_secret_of_github_can_be_given_and_older_ones_stay_good(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("HOOKBOT_OLD_GITHUB_SECRETS", "older\noldest")
    secrets = configure("--router", "github", key="k", github_secret="given").github_secrets
    assert secrets == (StoredSecret("given"), StoredSecret("older"), StoredSecret("oldest"))


@pytest.mark.parametrize(
    ("given", "prefixes"),
    [
        ([], ("",)),
        (["none"], ()),
        (["github.com"], ("github.com",)),
        (["/github.com/", "/unsafe/jira/"], ("github.com/", "jira/")),
        (["unsafe/jira", "/unsafe/pub/jira/", "https://hub/unsafe/pub/jira"], ("jira", "jira/", "jira")),
        (["None"], ()),
    ],
)
def test_unsafe_topics_are_all_some_or_none(given: list[str], prefixes: tuple[Any, ...]) -> None:
    args = [word for prefix in given for word in ("--unsafe", prefix)]
    assert configure(*args, key="k").unsafe_prefixes == prefixes


@pytest.mark.parametrize("given", [["none", "jira"], ["a//b"], [".."], ["x" * 2000]])
def test_nonsense_about_unsafe_topics_is_refused(given: list[str]) -> None:
    args = [word for prefix in given for word in ("--unsafe", prefix)]
    with pytest.raises((ConfigError, click.UsageError), match=r"none|topic"):
        configure(*args, key="k")


@pytest.mark.parametrize(
    "args",
    [
        ["--bind", "8080"],
        ["--keep", "soon"],
        ["--keep-count", "0"],
        ["--max-body", "much"],
        ["--heartbeat", "0"],
        ["--sslkey", "/no/such/file"],
        ["--log-format", "xml"],
        ["--publish-rate", "fast"],
        ["something"],
    ],
)
def test_nonsense_is_a_usage_error(args: list[str]) -> None:
    with pytest.raises(click.UsageError):
        configure(*args, key="k")
