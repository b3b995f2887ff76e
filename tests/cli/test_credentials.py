"""Keys and tokens that commands use."""

from pathlib import Path

import pytest

from hookbot.cli.credentials import find_key, find_publish_token, find_token, key_for, known_key
from hookbot.client.address import Address
from hookbot.errors import ConfigError

NOT_GIVEN = {"key": None, "github_secret": None}


def test_a_key_is_given_or_found_or_made(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given = NOT_GIVEN | {"key": "given"}
    assert find_key(given, tmp_path).value == known_key(given, tmp_path) == "given"

    assert known_key(NOT_GIVEN, tmp_path) is None
    with pytest.raises(ConfigError):
        find_key(NOT_GIVEN, tmp_path, make=False)

    made = find_key(NOT_GIVEN, tmp_path)
    assert made.new
    assert known_key(NOT_GIVEN, tmp_path) == made.value


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "[::1]"])
def test_a_stored_key_makes_tokens_for_a_hub_on_this_machine(
    environment: pytest.MonkeyPatch, tmp_path: Path, host: str
) -> None:
    (tmp_path / "key").write_text("stored")
    assert key_for(NOT_GIVEN, tmp_path, Address.parse(f"http://{host}:8080/")) == "stored"


@pytest.mark.parametrize("host", ["hub.example.com", "10.0.0.1", "localhost.example.com", "[2001:db8::1]"])
def test_a_stored_key_makes_no_token_that_another_hub_would_learn(
    environment: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], host: str
) -> None:
    hub = Address.parse(f"http://{host}:8080/")
    assert key_for(NOT_GIVEN, tmp_path, hub) is None
    assert capsys.readouterr().err == ""

    (tmp_path / "key").write_text("stored")

    assert key_for(NOT_GIVEN, tmp_path, hub) is None
    assert f"set HOOKBOT_KEY_FILE to {tmp_path / 'key'}" in capsys.readouterr().err
    assert key_for(NOT_GIVEN, tmp_path, Address.parse(f"http://token@{host}/")) is None
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("given", ["--key", "HOOKBOT_KEY", "HOOKBOT_KEY_FILE"])
def test_a_given_key_makes_tokens_for_any_hub(environment: pytest.MonkeyPatch, tmp_path: Path, given: str) -> None:
    (tmp_path / "key").write_text("stored")
    (tmp_path / "other").write_text("given\n")
    if given != "--key":
        environment.setenv(given, str(tmp_path / "other") if given.endswith("_FILE") else "given")
    options = NOT_GIVEN | {"key": "given" if given == "--key" else None}
    assert key_for(options, tmp_path, Address.parse("http://hub.example.com/")) == "given"


def test_the_token_file_goes_before_the_url_and_that_before_the_environment(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("from-file\n")
    assert find_token("http://h/sub/a", None) is None

    environment.setenv("HOOKBOT_TOKEN", "from-environment")

    assert find_token("http://h/sub/a", None) == "from-environment"
    assert find_token("http://from-url@h/sub/a", None) is None
    assert find_token("http://from-url@h/sub/a", tmp_path / "token") == "from-file"
    assert find_token("http://h/sub/a@b", None) == "from-environment"


def test_the_token_to_publish_with_is_another_one(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("HOOKBOT_TOKEN", "to-subscribe")
    assert find_publish_token("http://h/pub/a") is None

    environment.setenv("HOOKBOT_PUBLISH_TOKEN", "to-publish")

    assert find_publish_token("http://h/pub/a") == "to-publish"
    assert find_publish_token("http://from-url@h/pub/a") is None


@pytest.mark.parametrize(
    "pasted",
    ["{}\r\n", "\ufeff{}", " \xa0{}\u200b\t", "Bearer {}", "bearer  {}\n", '"{}"', "“{}”", "<{}>", "'Bearer {}'"],
)
def test_a_token_is_found_in_what_was_pasted(environment: pytest.MonkeyPatch, tmp_path: Path, pasted: str) -> None:
    text = pasted.format("a-Token_1")
    (tmp_path / "token").write_bytes(text.encode("utf-16"))
    environment.setenv("HOOKBOT_TOKEN", text)
    environment.setenv("HOOKBOT_PUBLISH_TOKEN", text)
    found = {
        find_token("http://h/", None),
        find_token("http://h/", tmp_path / "token"),
        find_publish_token("http://h/"),
    }
    assert found == {"a-Token_1"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (" ", "^HOOKBOT_TOKEN has no token$"),
        ("Bearer ", "^HOOKBOT_TOKEN has no token$"),
        ("abc\u200bdef", r"HOOKBOT_TOKEN contains U\+200B ZERO WIDTH SPACE"),
        ("abc def", r"HOOKBOT_TOKEN contains U\+0020 SPACE"),
        ("https://abc@h/", "HOOKBOT_TOKEN contains characters that no token has"),
        ('"abc', "HOOKBOT_TOKEN contains characters that no token has"),
    ],
)
def test_what_is_no_token_is_refused_without_showing_it(
    environment: pytest.MonkeyPatch, text: str, reason: str
) -> None:
    environment.setenv("HOOKBOT_TOKEN", text)
    with pytest.raises(ConfigError, match=reason) as refused:
        find_token("http://h/", None)
    assert "abc" not in str(refused.value)
