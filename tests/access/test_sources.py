"""Sections of sources, and what each source makes of a request."""

from contextlib import suppress
from hashlib import sha256
from ipaddress import ip_network

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_pem_x509_certificate
from hypothesis import given
from hypothesis import strategies as st

from hookbot.access.rate_limits import Rate
from hookbot.access.sources import KEYS, Source, Sources
from hookbot.errors import BadSignature, ConfigError, Forbidden
from hookbot.hub.config_file import Mistakes
from hookbot.protocol.message import Once, Verified
from hookbot.protocol.request import Request
from hookbot.signatures import SignedRequest, load_provider, provider_names

NOW_S = 1_700_000_000.0
SECRET = "the secret of the tests, not too short"
SECTION = {"topic": "/unsafe/acme/", "provider": "github", "secrets": [SECRET]}
RANGES = {"github": [ip_network("192.0.2.0/24"), ip_network("2001:db8::/32")]}


def resolve(text):
    """As `hookbot.hub.config.resolve_secret`, of an environment of the tests' own."""
    kind, _, name = text.partition(":")
    if kind == "env":
        try:
            return {"NEW": SECRET, "OLD": "an older one", "WORD": "a word"}[name]
        except KeyError:
            raise ConfigError(f"the environment has no {name}") from None
    return text


def parse(**section):
    return Source.parse({**SECTION, **section}, resolve, RANGES)


def mistakes(**section):
    section = {key: value for key, value in {**SECTION, **section}.items() if value is not None}
    with pytest.raises(Mistakes) as caught:
        Source.parse(section, resolve, RANGES)
    return dict(caught.value.mistakes)


def signed(provider, body=b"{}", secret=SECRET, headers=(), url="http://hub/unsafe/pub/acme/x", now=NOW_S):
    return load_provider(provider).sign(SignedRequest(body, headers, "POST", url), secret, now=now)


# --- reading


def test_a_section_says_what_a_source_is():
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
    assert (source.topic, source.provider.name, source.provider.max_age) == ("/unsafe/acme/", "stripe", 60)
    assert source.secrets == [SECRET, "an older one"]
    assert source.url == "https://hooks.example.com"
    assert source.single_use
    assert source.confirm
    assert source.allow_from == (ip_network("203.0.113.7/32"), *RANGES["github"], ip_network("2001:db8:1::/48"))
    assert source.certificates == ["ab" * 31 + "cd", "CN=robot,O=Acme"]
    assert source.max_body_bytes == 1000
    assert source.publishes.rate == Rate(5, 1)


def test_options_of_the_provider_can_be_secrets_as_well():
    assert parse(provider="meta", verify_token="env:WORD").provider.verify_token == "a word"
    assert "NOBODY" in mistakes(provider="meta", verify_token="env:NOBODY")["provider"]


def test_every_key_of_a_source_is_read():
    for key in KEYS:
        assert key in mistakes(**{key: object()}), key


@pytest.mark.parametrize(
    ("section", "key", "reason"),
    [
        ({"topic": None}, "topic", "missing"),
        ({"provider": None}, "provider", "missing"),
        ({"secrets": None}, "secrets", "missing"),
        ({"topic": "a//b"}, "topic", "empty"),
        ({"topic": "/acme"}, "topic", "empty"),
        ({"topic": "/unsafe/pub/acme/"}, "topic", "/unsafe/acme/: write that"),
        ({"topic": "/pub/acme"}, "topic", "acme: write that"),
        ({"topic": "pub/acme/"}, "topic", "acme/: write that"),
        ({"topic": 5}, "topic", "text, not a whole number"),
        ({"provider": "githup"}, "provider", "no provider"),
        ({"secrets": "text"}, "secrets", "a list, not text"),
        ({"secrets": []}, "secrets", "at least one"),
        ({"secrets": [5]}, "secrets", "list of texts"),
        ({"secrets": ["env:NOBODY"]}, "secrets", "no NOBODY"),
        ({"provider": "azure-devops", "secrets": ["no colon"]}, "secrets", "user:password"),
        ({"url": "hooks.example.com"}, "url", "https://"),
        ({"single_use": 1}, "single_use", "true or false"),
        ({"allow_from": "10.0.0.0/8"}, "allow_from", "a list"),
        ({"allow_from": ["10.0.0.1/8"]}, "allow_from", "host bits"),
        ({"allow_from": ["gitlab"]}, "allow_from", "update-ranges"),
        ({"certificates": ["robot"]}, "certificates", "SHA-256"),
        ({"certificates": ["ab" * 31]}, "certificates", "SHA-256"),
        ({"max_body_bytes": 0}, "max_body_bytes", "from 1 on"),
        ({"max_body_bytes": "1MiB"}, "max_body_bytes", "a whole number, not text"),
        ({"max_body_bytes": True}, "max_body_bytes", "not true or false"),
        ({"publish_rate": "5"}, "publish_rate", "100/s"),
        ({"confirm": "yes"}, "confirm", "true or false"),
        ({"alow_from": []}, "alow_from", "did you mean 'allow_from'?"),
        ({"provider": "stripe", "max_agee": 5}, "max_agee", "did you mean 'max_age'?"),
        ({"provider": "stripe", "max_age": -5}, "max_age", "more than 0"),
        ({"provider": "stripe", "max_age": "5"}, "max_age", "is a float, not a str"),
        ({"provider": "hmac", "template": "{nothing}"}, "provider", "unknown"),
    ],
)
def test_what_is_wrong_with_a_section_is_told_with_its_key(section, key, reason):
    assert reason in mistakes(**section)[key]


def test_all_that_is_wrong_is_told_at_once():
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
def test_what_is_wrong_is_told_without_any_secret(section):
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
    st.dictionaries(st.sampled_from([*KEYS, *OPTIONS]), ANYTHING | st.lists(st.text(), max_size=3), max_size=5),
)
def test_whatever_a_section_says_it_is_a_source_or_a_mistake(name, section):
    with suppress(ConfigError):
        Source.parse({**SECTION, "provider": name, **section}, resolve, RANGES)


# --- finding


def test_for_a_topic_the_longest_match_counts():
    sources = Sources(
        parse(topic=topic) for topic in ("", "acme/", "acme/pay/", "acme/pay/now", "/unsafe/", "/unsafe/acme/")
    )

    def found(topic):
        source = sources.find(topic)
        return None if source is None else source.topic

    assert {topic: found(topic) for topic in ("x", "acme", "acme/", "acme/x", "acme/pay/x", "acme/pay/now")} == {
        "x": "",
        "acme": "",
        "acme/": "acme/",
        "acme/x": "acme/",
        "acme/pay/x": "acme/pay/",
        "acme/pay/now": "acme/pay/now",
    }
    assert {topic: found(topic) for topic in ("/unsafe/x", "/unsafe/acme", "/unsafe/acme/x/y")} == {
        "/unsafe/x": "/unsafe/",
        "/unsafe/acme": "/unsafe/",
        "/unsafe/acme/x/y": "/unsafe/acme/",
    }


def test_a_topic_beneath_no_source_has_none():
    sources = Sources([parse(topic="/unsafe/acme/")])
    for topic in ("acme/x", "/unsafe/acme", "/unsafe/acmee/x", "/unsafe/", ""):
        assert sources.find(topic) is None
    assert Sources().find("/unsafe/acme/x") is None


# --- from where


def test_a_source_takes_requests_from_its_networks_only():
    source = parse(allow_from=["github"])
    for inside in ("192.0.2.1", "2001:db8::1"):
        source.check_sender(inside, None)
    for outside in ("192.0.3.1", "2001:db9::1", "", "unknown"):
        with pytest.raises(Forbidden):
            source.check_sender(outside, None)
    parse().check_sender("192.0.3.1", None)


@pytest.fixture(scope="module")
def certificate():
    """A client certificate, DER."""
    issued = trustme.CA().issue_cert("robot.example", common_name="robot", organization_name="Acme, Inc.")
    return load_pem_x509_certificate(issued.cert_chain_pems[0].bytes())


def test_a_source_may_ask_for_a_certificate(certificate):
    der = certificate.public_bytes(Encoding.DER)
    fingerprint = sha256(der).hexdigest()
    subject = certificate.subject.rfc4514_string()
    assert "CN=robot" in subject
    colons = ":".join(fingerprint[n : n + 2] for n in range(0, 64, 2)).upper()
    for told in (fingerprint, colons, subject):
        source = parse(certificates=["CN=another", told])
        source.check_sender("192.0.2.1", der)
        with pytest.raises(Forbidden):
            source.check_sender("192.0.2.1", None)
    for other in ("CN=robot", "CN=another", "ab" * 32):
        with pytest.raises(Forbidden):
            parse(certificates=[other]).check_sender("192.0.2.1", der)


# --- what a request is


def test_a_signer_sees_the_address_that_it_was_given():
    headers = (("Host", "hub.internal:8080"),)
    request = Request("POST", b"/unsafe/pub/acme/x?a=%20b", headers)
    assert parse().signed(request, b"body") == SignedRequest(
        b"body", headers, "POST", "http://hub.internal:8080/unsafe/pub/acme/x?a=%20b"
    )
    secure = Request("POST", b"http://elsewhere/unsafe/pub/acme/x?a=%20b", headers, secure=True)
    assert parse().signed(secure, b"").url == "https://hub.internal:8080/unsafe/pub/acme/x?a=%20b"
    outside = parse(url="https://hooks.example.com/").signed(request, b"")
    assert outside.url == "https://hooks.example.com/unsafe/pub/acme/x?a=%20b"


def verify(source, request):
    return source.verify(request, now_s=NOW_S)


def test_a_genuine_request_says_by_which_secret_it_was_signed_and_when():
    source = parse(provider="stripe", secrets=["another", SECRET])
    assert verify(source, signed("stripe")).verified == Verified("stripe", "1", NOW_S)
    assert verify(parse(secrets=[SECRET]), signed("github")).verified == Verified("github", "0", None)
    with pytest.raises(BadSignature):
        verify(source, signed("stripe", secret="neither"))


ONCE = [
    # section, request, what makes a repeat of it
    ({"provider": "stripe"}, signed("stripe", b'{"id": "evt_1"}'), ("replay", True)),
    ({"provider": "slack"}, signed("slack"), ("replay", True)),
    ({"provider": "slack", "single_use": True}, signed("slack"), ("replay", True)),
    ({"provider": "github"}, signed("github", headers=(("X-GitHub-Delivery", "one"),)), ("delivery", False)),
    (
        {"provider": "github", "single_use": True},
        signed("github", headers=(("X-GitHub-Delivery", "one"),)),
        ("single use", True),
    ),
    ({"provider": "github"}, signed("github"), None),
]


@pytest.mark.parametrize(("section", "request_", "kind"), ONCE)
def test_what_makes_a_repeat_depends_on_what_was_signed(section, request_, kind):
    once = verify(parse(**section), request_).once
    assert [(one.scope, one.exclusive) for one in once] == ([(f"{kind[0]} /unsafe/acme/", kind[1])] if kind else [])


def test_a_delivery_is_another_where_its_topic_belongs_to_another_source():
    keys = [verify(parse(topic=topic, provider="slack"), signed("slack")).once for topic in ("a/", "b/")]
    assert keys[0] != keys[1]
    assert isinstance(keys[0][0], Once)


def test_what_is_secret_by_itself_is_taken_out():
    source = parse(provider="header", header="query:key")
    verification = verify(
        source, SignedRequest(b"", (), "POST", f"http://hub/x?a=1&key={SECRET}&b=2".replace(" ", "+"))
    )
    assert verification.stripped.query == "a=1&b=2"
    source = parse(provider="header", header="X-Api-Key")
    assert verify(source, SignedRequest(b"", (("x-api-key", SECRET), ("A", "1")))).stripped.headers == (("A", "1"),)


def test_nothing_is_fetched_for_a_sender_unless_that_is_allowed():
    class Confirming(type(load_provider("github"))):
        def verify(self, request, secrets, *, now):
            proof = super().verify(request, secrets, now=now)
            return type(proof)(proof.key, proof.fingerprint, confirm_url="https://sns.example/confirm")

    source = parse()
    provider = Confirming(name="acme", documentation="", header="X-Hub-Signature-256", prefix="sha256=")
    for confirm, url in ((False, None), (True, "https://sns.example/confirm")):
        allowed = Source(source.topic, provider, [SECRET], confirm=confirm)
        assert verify(allowed, signed("github")).confirm_url == url


# --- for how long a repeat has to be remembered


@pytest.mark.parametrize(
    ("section", "window_s"),
    [
        ({"provider": "github"}, 0),
        ({"provider": "stripe"}, 600),
        ({"provider": "stripe", "max_age": 60}, 120),
        ({"provider": "aws-sns", "secrets": ["arn:aws:sns:eu-west-1:123456789012:x"]}, 7200),
        ({"provider": "gitlab", "max_age": 1000}, 2000),
        ({"provider": "hmac"}, 0),
        ({"provider": "hmac", "template": "{timestamp}{body}", "timestamp": "X-Time", "max_age": 50}, 100),
    ],
)
def test_a_request_is_good_from_max_age_before_its_time_to_max_age_after_it(section, window_s):
    assert parse(**section).provider.window_s == window_s
