"""Providers by name, those of plugins among them, and the page that documents them."""

import re
import sys
from pathlib import Path
from typing import Any

import pytest

from hookbot.errors import ConfigError
from hookbot.signatures import SignedRequest, load_provider, provider_names
from hookbot.signatures.catalogue import PROVIDERS

PAGE = (Path(__file__).parents[2] / "docs" / "providers.md").read_text()
SECTIONS = dict(re.findall(r"^### (\S+)\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL))

MODULE = """
from hookbot.signatures.scheme import Scheme
ACME = Scheme(name="acme", documentation="https://acme.example/webhooks")
IMPOSTOR = Scheme(name="github", documentation="https://acme.example/webhooks")
NOT_A_PROVIDER = "acme"
"""
ENTRY_POINTS = """
[hookbot.providers]
acme = acme_webhooks:ACME
broken = acme_webhooks:NOT_A_PROVIDER
github = acme_webhooks:ACME
impostor = acme_webhooks:IMPOSTOR
missing = no_such_module:ACME
nameless = acme_webhooks:NO_SUCH_NAME
"""


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed distribution with some providers, good and bad."""
    info = tmp_path / "acme_webhooks-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-webhooks\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    (tmp_path / "acme_webhooks.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "acme_webhooks", raising=False)


def test_a_plugin_adds_a_provider(plugins: None) -> None:
    assert load_provider("acme").documentation == "https://acme.example/webhooks"
    assert "acme" in provider_names()


def test_a_plugin_cannot_take_the_name_of_a_provider_that_is_there(plugins: None) -> None:
    assert load_provider("github").documentation.startswith("https://docs.github.com/")
    assert provider_names().count("github") == 1


def test_a_provider_of_a_plugin_has_the_name_of_its_entry_point_whatever_it_calls_itself(plugins: None) -> None:
    assert load_provider("impostor").name == "impostor"


def test_a_plugin_that_is_broken_harms_only_who_asks_for_it(plugins: None) -> None:
    assert load_provider("stripe").name == "stripe"
    with pytest.raises(ConfigError, match="is not a Provider"):
        load_provider("broken")
    with pytest.raises(ConfigError, match="cannot be loaded from no_such_module"):
        load_provider("missing")
    with pytest.raises(ConfigError, match="cannot be loaded from acme_webhooks:NO_SUCH_NAME"):
        load_provider("nameless")


def test_a_name_that_nobody_has_is_told_with_those_that_there_are() -> None:
    with pytest.raises(ConfigError, match=r"unknown provider 'anybody'; choose one of adyen, .*zoom"):
        load_provider("anybody")
    for near in ("gitbub", "GitHub", " github"):
        with pytest.raises(ConfigError, match=rf"unknown provider '{near}'; did you mean 'github'\?"):
            load_provider(near)


def test_every_provider_has_its_section_and_every_section_its_provider() -> None:
    assert sorted(SECTIONS) == provider_names(), "a provider is described in docs/providers.md as `### <name>`"


def test_the_list_at_the_top_of_the_page_leads_to_every_section() -> None:
    listed = re.findall(r"\[([\w-]+)\]\(#\1\)", PAGE.partition("\n## ")[0])

    assert sorted(listed) == sorted(SECTIONS), "docs/providers.md begins with a link to each of its sections"


def test_the_page_lists_those_whose_bodies_are_parsed_before_they_are_verified() -> None:
    _, _, after = PAGE.partition("| provider | what is parsed |\n|---|---|\n")
    rows = after.partition("\n\n")[0].splitlines()
    listed = {name for row in rows for name in re.findall(r"`([a-z-]+)`", row.split("|")[1])}

    # Their options can say that the signature is in the body.
    assert listed - {"header", "hmac", "jwt"} == {name for name in PROVIDERS if PROVIDERS[name].parses_body}


def test_only_microsoft_graph_posts_a_challenge_without_a_signature() -> None:
    assert [name for name, provider in PROVIDERS.items() if not provider.signs_every_post] == ["microsoft-graph"]


@pytest.mark.parametrize("name", sorted(SECTIONS))
def test_the_section_of_a_provider_has_its_link_its_options_and_what_a_replay_can_do(name: str) -> None:
    provider = load_provider(name)

    assert f"<{provider.documentation}>" in SECTIONS[name]
    assert "Replay: " in SECTIONS[name]
    for option in provider.options:
        assert f"`{option}" in SECTIONS[name]


@pytest.mark.parametrize("name", sorted(SECTIONS))
def test_the_section_of_a_provider_says_of_a_replay_what_is_true(name: str) -> None:
    provider = load_provider(name)
    section = SECTIONS[name]

    if {"id", "timestamp"} & set(provider.covers) and name not in ("hmac", "jwt", "gitlab"):
        assert "Replay: nothing" in section
    elif "body" in provider.covers and name not in ("hmac", "jwt", "gitlab"):
        assert "Replay: passes" in section


def test_the_example_of_a_plugin_runs() -> None:
    example = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)
    namespace: dict[str, Any] = {}

    assert example is not None
    exec(example[1], namespace)

    acme = namespace["ACME"]
    signed = acme.sign(SignedRequest(b"{}"), "secret", now=1_700_000_000)
    assert acme.verify(signed, ["secret"], now=1_700_000_000).signed_at == 1_700_000_000


@pytest.mark.parametrize(
    ("name", "options", "window_s"),
    [
        ("github", {}, 0),
        ("stripe", {}, 600),
        ("stripe", {"max_age": 60}, 120),
        ("aws-sns", {}, 7200),
        ("gitlab", {"max_age": 1000}, 2000),
        ("hmac", {}, 0),
        ("hmac", {"template": "{timestamp}{body}", "timestamp": "X-Time", "max_age": 50}, 100),
    ],
)
def test_a_request_is_good_from_max_age_before_its_time_to_max_age_after_it(
    name: str, options: dict[str, Any], window_s: int
) -> None:
    assert load_provider(name, options).window_s == window_s
