"""Configuration and security, as documented: every option and key is there, and every example is right."""

import re
from dataclasses import fields
from pathlib import Path

import pytest
from click.testing import CliRunner

from hookbot.access.ip_ranges import KNOWN, RangeList, write_ranges
from hookbot.access.narrowed_tokens import CAVEATS, NarrowedToken
from hookbot.access.tokens import make_token
from hookbot.cli.main import cli
from hookbot.cli.serve import serve
from hookbot.cli.tokens import narrow
from hookbot.hub import secret_store as store
from hookbot.hub.config import RANGES_FILE
from hookbot.hub.quota_section import LIMITS
from hookbot.hub.source_section import SOURCE_KEYS
from hookbot.routers.attempts import RouterLimits
from support.pages import blocks, page, section

CONFIGURATION = page("docs/configuration.md")
SECURITY = page("docs/security.md")
PROTOCOL = page("docs/protocol.md")


def rows(text: str) -> list[str]:
    """The first cell of every row of the tables in a text."""
    return re.findall(r"^\| (`.*?) \|", text, re.MULTILINE)


OPTIONS = section(CONFIGURATION, "Options of `serve`")


@pytest.mark.parametrize("name", serve.named_options())
def test_every_option_of_serve_has_a_row_with_its_variable_and_its_default(name: str) -> None:
    option = serve.named_options()[name]
    row = next(line for line in OPTIONS.splitlines() if line.startswith(f"| `--{name}`"))
    _, names, variable, default, meaning, _ = re.split(r"(?<!\\)\|", row, maxsplit=5)
    assert re.findall(r"`(.*?)`", names) == [f"--{name}", *(opt for opt in option.opts if not opt.startswith("--"))]
    assert variable.strip() == f"`{option.envvar}`"
    assert len(meaning.strip()) > 5
    if isinstance(option.default, str):
        assert default.strip() == f"`{option.default}`"


def test_no_row_is_of_an_option_that_there_is_not() -> None:
    assert {row.split("`")[1].removeprefix("--") for row in rows(OPTIONS)} == serve.named_options().keys()


def test_every_secret_is_there_with_its_variables_and_its_file() -> None:
    text = section(CONFIGURATION, "Secrets of the hub")
    for variable in (store.KEY, store.OLD_KEYS, store.GITHUB_SECRET, store.OLD_GITHUB_SECRETS):
        assert f"`{variable}`" in text
        assert f"`{variable}_FILE`" in text
    for file in (store.KEY_FILE, store.OLD_KEYS_FILE, store.GITHUB_SECRET_FILE, store.OLD_GITHUB_SECRETS_FILE):
        assert f"`{file}`" in text
    assert f"`{RANGES_FILE}`" in text


def test_every_key_of_a_source_has_a_row() -> None:
    assert {row.strip("`") for row in rows(section(CONFIGURATION, "`[[sources]]`"))} == set(SOURCE_KEYS)


def test_every_key_of_a_router_has_a_row() -> None:
    known = {"router", *(field.name for field in fields(RouterLimits))}
    assert {row.strip("`") for row in rows(section(CONFIGURATION, "`[routers.NAME]`"))} == known


def test_every_limit_of_a_quota_has_a_row() -> None:
    assert {row.strip("`") for row in rows(section(CONFIGURATION, '`[quotas."TOPIC/"]`'))} == set(LIMITS)


def test_every_option_of_narrow_and_every_caveat_is_there() -> None:
    tokens = section(SECURITY, "Tokens")
    for option in narrow.params:
        if option.name not in ("token", "root"):
            assert f"| `--{option.name}` |" in tokens
    for name in CAVEATS:
        assert f"`{name}`" in PROTOCOL.partition("### Narrowed tokens")[2].partition("###")[0]


def test_every_list_of_networks_that_is_known_is_there() -> None:
    for name in KNOWN:
        assert name in section(SECURITY, "Restrict networks")


def test_the_token_that_is_shown_is_right() -> None:
    [(plain, narrowed)] = re.findall(r"^    ([0-9a-f]{40})\n    (\S+)$", PROTOCOL, re.MULTILINE)
    assert plain == make_token("key", "/sub/")
    assert narrowed == str(NarrowedToken.of(plain, "/sub/").narrow("only", "sub").narrow("expires", "1800000000"))


@pytest.mark.parametrize(
    "name", ["cluster", "configuration", "how-to", "operations", "providers", "routers", "security"]
)
def test_every_configuration_that_is_shown_is_right(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOKBOT_DATA_DIR", str(tmp_path))
    # Where hubs share a store, none of them makes one.
    monkeypatch.setenv(store.KEY, "a key that is long enough for anybody")
    write_ranges(tmp_path / "ranges.json", {name: RangeList("", "", ("192.0.2.0/24",)) for name in KNOWN})
    shown = [block for block in blocks(page(f"docs/{name}.md"), "toml") if "[project" not in block]
    assert shown
    for number, block in enumerate(shown):
        for variable in re.findall(r"env:(\w+)", block):
            monkeypatch.setenv(variable, "a secret that is long enough for anybody")
        for path in re.findall(r'(?:file:|")(/(?:run|etc)/[^"]+)', block):
            (tmp_path / path[1:]).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path[1:]).write_text("a-secret-that-is-long-enough-and-a-name")
        file = tmp_path / f"{number}.toml"
        file.write_text(re.sub(r"/(run|etc)/", rf"{tmp_path}/\1/", block))
        result = CliRunner().invoke(cli, ["check-config", str(file)])
        assert result.exit_code == 0, f"{block}\n{result.output}"
