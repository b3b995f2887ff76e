"""The section of a source: what it says, and what is wrong with it."""

from contextlib import suppress
from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookbot.access.rate_limits import Rate
from hookbot.access.sources import Source
from hookbot.errors import ConfigError
from hookbot.hub.config_file import Mistakes
from hookbot.hub.source_section import SOURCE_KEYS, parse_source
from hookbot.signatures import load_provider, provider_names
from hookbot.signatures.scheme import Scheme

SECRET = "the secret of the tests, not too short"
SECTION = {"topic": "/unsafe/acme/", "provider": "github", "secrets": [SECRET]}
RANGES = {"github": [ip_network("192.0.2.0/24"), ip_network("2001:db8::/32")]}


def resolve(text: str) -> str:
    """As `hookbot.hub.secret_store.resolve_secret`, of an environment of the tests' own."""
    kind, _, name = text.partition(":")
    if kind == "env":
        try:
            return {"NEW": SECRET, "OLD": "an older one", "WORD": "a word"}[name]
        except KeyError:
            raise ConfigError(f"the environment has no {name}") from None
    return text


def parse(**section: Any) -> Source:
    return parse_source({**SECTION, **section}, resolve, RANGES)


def mistakes(**section: Any) -> dict[str, str]:
    section = {key: value for key, value in {**SECTION, **section}.items() if value is not None}
    with pytest.raises(Mistakes) as caught:
        parse_source(section, resolve, RANGES)
    return dict(caught.value.mistakes)


def test_a_section_says_what_a_source_is() -> None:
    source = parse(
        provider="stripe",
        secrets=["env:NEW", "env:OLD"],
        max_age=60,
        url="https://hooks.example.com/",
        single_use=True,
        allow_from=["203.0.113.7", "github", "2001:db8:1::/48"],
        certificates=["AB:" * 31 + "CD", "CN=robot,O=Acme"],
        max_body_bytes=1000,
        publish_rate="5/s",
        confirm=True,
    )
    assert (source.topic, source.provider.name) == ("/unsafe/acme/", "stripe")
    assert source.provider.window_s == 2 * 60
    assert source.secrets == [SECRET, "an older one"]
    assert source.url == "https://hooks.example.com"
    assert source.single_use
    assert source.confirm
    assert source.allow_from == (ip_network("203.0.113.7/32"), *RANGES["github"], ip_network("2001:db8:1::/48"))
    assert source.certificates == ["ab" * 31 + "cd", "CN=robot,O=Acme"]
    assert source.max_body_bytes == 1000
    assert source.publishes
    assert source.publishes.rate == Rate(5, 1)


def test_options_of_the_provider_can_be_secrets_as_well() -> None:
    provider = parse(provider="meta", verify_token="env:WORD").provider
    assert provider == load_provider("meta", {"verify_token": "a word"})
    assert "NOBODY" in mistakes(provider="meta", verify_token="env:NOBODY")["provider"]


@pytest.mark.parametrize(
    ("section", "owners"),
    [
        ({"provider": "github", "topic": "/unsafe/github.com/org/acme"}, ["acme"]),
        (
            {"provider": "github", "topic": "/unsafe/github.com/org/acme", "owners": ["Acme", "acme-labs"]},
            ["Acme", "acme-labs"],
        ),
        ({"provider": "github", "topic": "/unsafe/github.com/org/acme", "owners": ["*"]}, []),
        ({"provider": "github", "topic": "/unsafe/github.com/"}, []),
        ({"provider": "gitlab", "topic": "/unsafe/gitlab.com/acme/web/"}, ["acme/web"]),
        ({"provider": "stripe", "topic": "/unsafe/stripe/"}, []),
        ({"provider": "slack", "topic": "/unsafe/github.com/org/acme"}, []),
    ],
)
def test_a_source_is_bound_to_its_owners_or_to_the_one_that_its_topic_names(
    section: dict[str, Any], owners: list[str]
) -> None:
    assert list(parse(**section).owners) == owners


def test_a_source_may_be_expected_to_be_heard_so_often() -> None:
    assert [parse(expect_every=text).expect_every_s for text in ("60s", "1d")] == [60, 86_400]
    assert parse().expect_every_s is None


def test_every_key_of_a_source_is_read() -> None:
    for key in SOURCE_KEYS:
        assert key in mistakes(**{key: object()}), key


@pytest.mark.parametrize(
    ("section", "key", "reason"),
    [
        ({"topic": None}, "topic", "missing"),
        ({"provider": None}, "provider", "missing"),
        ({"secrets": None}, "secrets", "missing"),
        ({"owners": []}, "owners", "at least one"),
        ({"owners": [5]}, "owners", "items of the list must be strings"),
        ({"owners": ["acme/"]}, "owners", "not 'acme/'"),
        ({"owners": ["ac\u200bme"], "provider": "github"}, "owners", "U+200B ZERO WIDTH SPACE"),
        ({"owners": ["acme", "*"], "provider": "github"}, "owners", "stands for any owner, alone"),
        ({"owners": ["acme"], "provider": "slack"}, "owners", "slack has no owners"),
        ({"topic": "a//b"}, "topic", "empty"),
        ({"topic": "/acme"}, "topic", "must be 'acme' (for senders without a token: '/unsafe/acme'), not '/acme'"),
        ({"topic": "/unsafe/pub/acme/"}, "topic", "must be '/unsafe/acme/', not '/unsafe/pub/acme/'"),
        ({"topic": "unsafe/pub/acme/"}, "topic", "must be '/unsafe/acme/', not 'unsafe/pub/acme/'"),
        ({"topic": "/unsafe/sub/acme/"}, "topic", "must be '/unsafe/acme/', not '/unsafe/sub/acme/'"),
        ({"topic": "unsafe/acme/"}, "topic", "must be '/unsafe/acme/', not 'unsafe/acme/'"),
        ({"topic": "//unsafe/acme/"}, "topic", "must be '/unsafe/acme/', not '//unsafe/acme/'"),
        ({"topic": " /unsafe/acme/ "}, "topic", "must be '/unsafe/acme/', not ' /unsafe/acme/ '"),
        ({"topic": "https://h:1/unsafe/pub/acme/?a=b"}, "topic", "must be '/unsafe/acme/', not 'https://h:1/unsafe"),
        ({"topic": "https://h/pub/acme"}, "topic", "must be 'acme' (for"),
        (
            {"topic": "https://TOKEN@h/unsafe/pub/acme"},
            "topic",
            "must be '/unsafe/acme', not 'https://h/unsafe/pub/acme'",
        ),
        ({"topic": "TOKEN@h:1/unsafe/pub/acme"}, "topic", "must be '/unsafe/acme', not 'h:1/unsafe/pub/acme'"),
        ({"topic": "/unsafe/acme%2Finc"}, "topic", "must be '/unsafe/acme/inc', not '/unsafe/acme%2Finc'"),
        ({"topic": "/unsafe/acme?a=b"}, "topic", "must be '/unsafe/acme', not '/unsafe/acme?a=b'"),
        ({"topic": "/pub/acme"}, "topic", "must be 'acme' (for"),
        ({"topic": "/sub/acme"}, "topic", "must be 'acme' (for"),
        ({"topic": "pub/acme/"}, "topic", "must be 'acme/' (for"),
        ({"topic": "/unsafe/acme/*"}, "topic", "must be '/unsafe/acme/', not '/unsafe/acme/*'"),
        ({"topic": "acme/#"}, "topic", "must be 'acme/' (for senders without a token: '/unsafe/acme/'), not 'acme/#'"),
        ({"topic": "hookbot/failed/"}, "topic", "the hub's own"),
        ({"topic": "/unsafe/hookbot/failed/"}, "topic", "the hub's own"),
        ({"topic": 5}, "topic", "a string, not an integer"),
        ({"provider": "githup"}, "provider", "unknown provider"),
        ({"secrets": "text"}, "secrets", "a list, not a string"),
        ({"secrets": []}, "secrets", "at least one"),
        ({"secrets": [5]}, "secrets", "items of the list must be strings"),
        ({"secrets": ["env:NOBODY"]}, "secrets", "no NOBODY"),
        ({"provider": "hmac", "header": "X-S\u200big"}, "header", "the option header of hmac contains U+200B"),
        ({"provider": "azure-devops", "secrets": ["no colon"]}, "secrets", "user:password"),
        ({"url": "hooks.example.com"}, "url", "https://"),
        ({"url": "https://"}, "url", "is like https://hooks.example.com, not 'https://'"),
        ({"url": "https://hooks.exam\u200bple.com"}, "url", "U+200B ZERO WIDTH SPACE"),
        ({"url": "https://hooks.example.com:99999"}, "url", "its host or its port is invalid"),
        ({"url": "https://hooks.example.com/?a=b"}, "url", "no query"),
        ({"topic": "/unsafe/a\xa0b/"}, "topic", "must be '/unsafe/a b/'"),
        ({"topic": "/unsafe/s\u200b/"}, "topic", "must be '/unsafe/s/'"),
        ({"single_use": 1}, "single_use", "true or false"),
        ({"allow_from": "10.0.0.0/8"}, "allow_from", "a list"),
        ({"allow_from": ["10.0.0.1/8"]}, "allow_from", "host bits"),
        ({"allow_from": ["gitlab"]}, "allow_from", "update-ranges"),
        ({"certificates": ["robot"]}, "certificates", "SHA-256"),
        ({"certificates": ["ab" * 31]}, "certificates", "SHA-256"),
        ({"max_body_bytes": 0}, "max_body_bytes", "at least 1"),
        ({"max_body_bytes": "1MiB"}, "max_body_bytes", "an integer, not a string"),
        ({"max_body_bytes": True}, "max_body_bytes", "not true or false"),
        ({"publish_rate": "5"}, "publish_rate", "100/s"),
        ({"confirm": "yes"}, "confirm", "true or false"),
        ({"answer": "OK"}, "answer", "answer must be a table, not a string"),
        ({"answer": {"status": 99}}, "answer", "status: the status of a reply is a number from 200 to 599"),
        ({"answer": {"headers": {"Set-Cookie": "a=b"}}}, "answer", "no answer can carry the header 'Set-Cookie'"),
        ({"accept_ping": 1}, "accept_ping", "true or false"),
        ({"accept_ping": True, "provider": "stripe"}, "accept_ping", "stripe has no unsigned ping to accept"),
        ({"accept_ping": True, "provider": "hmac"}, "accept_ping", "hmac has no unsigned ping to accept"),
        ({"expect_every": 60}, "expect_every", "a string, not an integer"),
        ({"expect_every": "daily"}, "expect_every", "not a duration such as 90s, 10m, 2h or 7d: 'daily'"),
        ({"expect_every": "59s"}, "expect_every", "must be at least 1m, not '59s'"),
        ({"expect_every": "1d", "topic": "a" * 1010}, "expect_every", "its alerts would have an invalid topic"),
        ({"alow_from": []}, "alow_from", "has no option 'alow_from', did you mean 'allow_from'?"),
        ({"provider": "stripe", "max_agee": 5}, "max_agee", "has no option 'max_agee', did you mean 'max_age'?"),
        ({"provider": "stripe", "max_age": -5}, "max_age", "more than 0"),
        ({"provider": "stripe", "max_age": "5"}, "max_age", "must be a number, not a string"),
        ({"provider": "hmac", "template": "{nothing}"}, "provider", "unknown"),
    ],
)
def test_what_is_wrong_with_a_section_is_told_with_its_key(section: dict[str, Any], key: str, reason: str) -> None:
    assert reason in mistakes(**section)[key]


def test_all_that_is_wrong_is_told_at_once() -> None:
    wrong = mistakes(topic="a//b", provider="stripe", secrets=[], max_agee=5, confirm=5, url="x")
    assert wrong.keys() == {"topic", "secrets", "max_agee", "confirm", "url"}


@pytest.mark.parametrize(
    "section",
    [
        {"secrets": SECRET},
        {"secrets": [SECRET, 5]},
        {"provider": "jwt", "secrets": ["tooshort!secret"]},
        {"provider": "meta", "verify_token": ["tooshort!secret"]},
        {"provider": "standard-webhooks", "secrets": ["tooshort!secret"]},
    ],
)
def test_what_is_wrong_is_told_without_any_secret(section: dict[str, Any]) -> None:
    told = str(mistakes(**section))
    assert SECRET not in told
    assert "tooshort!secret" not in told
    assert SECRET not in repr(parse())


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
OPTIONS = sorted({option for name in provider_names() for option in load_provider(name).options})


@given(
    st.sampled_from(provider_names()),
    st.dictionaries(st.sampled_from([*SOURCE_KEYS, *OPTIONS]), ANYTHING | st.lists(st.text(), max_size=3), max_size=5),
)
def test_whatever_a_section_says_it_is_a_source_or_a_mistake(name: str, section: dict[str, Any]) -> None:
    with suppress(ConfigError):
        parse_source({**SECTION, "provider": name, **section}, resolve, RANGES)


def test_values_are_taken_without_what_is_pasted_with_them() -> None:
    source = parse(allow_from=["\ufeffgithub", " 198.51.100.0/24\xa0"], url='"https://hub.example/"\n')
    assert len(source.allow_from) == 3
    assert source.url == "https://hub.example"


def test_an_option_that_is_no_secret_is_kept_as_it_is_written() -> None:
    provider = parse(provider="hmac", id="X-Id", template="{id}\n{body}\n", separator=" ").provider
    assert isinstance(provider, Scheme)
    assert (provider.template, provider.separator) == ("{id}\n{body}\n", " ")


def test_a_certificate_is_told_by_its_fingerprint_or_subject_however_it_is_written() -> None:
    fingerprint = "ab" * 31 + "cd"
    with_colons = ":".join(fingerprint[n : n + 2] for n in range(0, 64, 2)).upper()
    by_windows = "\u200e" + with_colons.replace(":", " ")
    source = parse(certificates=[fingerprint, with_colons, by_windows, " CN=robot,O=Acme\n"])
    assert source.certificates == [fingerprint, fingerprint, fingerprint, "CN=robot,O=Acme"]
