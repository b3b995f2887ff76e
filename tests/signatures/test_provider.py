"""Providers: what a subclass gets for free, the options, and the choice between several rules."""

from collections.abc import Mapping, Sequence
from dataclasses import FrozenInstanceError, dataclass
from typing import Any

import pytest

from hookbot.errors import BadSignature, ConfigError, Unavailable
from hookbot.protocol.message import Message, Verified
from hookbot.signatures import CertificateNeeded, Proof, Provider, SignedRequest, load_provider
from hookbot.signatures.provider import Choice
from hookbot.signatures.scheme import Scheme
from hookbot.signatures.shared_secrets import SharedSecret

NOW = 1_700_000_000.0
PAGE = "https://acme.example/webhooks"
REQUEST = SignedRequest(b"{}")


@dataclass(frozen=True, kw_only=True)
class Minimal(Provider):
    """A provider with nothing but what it has to have."""

    parts: tuple[str, ...] = ()

    @property
    def covers(self) -> tuple[str, ...]:
        return self.parts

    def check(self, secret: str) -> None:
        raise ConfigError("no secret is good enough")

    def verify(self, request: SignedRequest, secrets: Sequence[str], *, now: float) -> Proof:
        raise BadSignature("no request is good enough")


MINIMAL = Minimal(name="acme", documentation=PAGE)


def test_a_proof_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        Proof(0, "f").key = 1  # type: ignore[misc]


@dataclass(frozen=True, kw_only=True)
class WithOptions(Minimal):
    """A provider with an option of each kind."""

    max_age: float = 10.0
    strict: bool = False
    word: str = ""

    @property
    def options(self) -> tuple[str, ...]:
        return ("max_age", "strict", "word")


FOR_ACME = b'{"repository": {"full_name": "acme/app"}}'
VOUCHED = [
    (FOR_ACME, Verified("github", "0", source="/unsafe/github.com/org/evil"), True),
    (FOR_ACME, Verified("github", "0", source="/unsafe/github.com/"), True),
    (FOR_ACME, Verified("github", "0", source="/unsafe/github.com/org/acme"), False),
    (FOR_ACME, Verified("github", "0", source="evil/"), False),
    (FOR_ACME, Verified("github", "0", source=""), False),
    (FOR_ACME, Verified("gitlab", "0", source="/unsafe/github.com/org/evil"), False),
    (FOR_ACME, None, False),
    # Stored by an older hub.
    (FOR_ACME, Verified("github", "0"), False),
    (b'{"repository": {"full_name": "Evil/app"}}', Verified("github", "0"), True),
]


@pytest.mark.parametrize(("body", "verified", "vouched"), VOUCHED)
def test_a_provider_vouches_for_what_the_source_of_its_topic_has_verified(
    body: bytes, verified: Verified | None, vouched: bool
) -> None:
    message = Message("/unsafe/github.com/org/evil", body, verified=verified)
    assert load_provider("github").vouches_for(message) is vouched


def test_nobody_vouches_for_what_an_older_hub_has_verified_and_cannot_be_read() -> None:
    types = (("Content-Type", "application/json"), ("Content-Type", "text/plain"))
    message = Message("/unsafe/github.com/org/evil", b"{}", headers=types, verified=Verified("github", "0"))
    assert not load_provider("github").vouches_for(message)


def test_what_an_older_hub_has_verified_is_vouched_for_where_the_topic_names_no_owner() -> None:
    for provider, topic in (("github", "/unsafe/github.com/hooks"), ("slack", "/unsafe/slack")):
        message = Message(topic, FOR_ACME, verified=Verified(provider, "0"))
        assert load_provider(provider).vouches_for(message)


def with_options(**fields: Any) -> WithOptions:
    return WithOptions(name="acme", documentation=PAGE, **fields)


def test_a_provider_need_not_sign_nor_know_challenges_ids_and_secret_places() -> None:
    provider = MINIMAL

    provider.check_head(REQUEST, ["secret"], now=NOW)
    assert provider.parses_body
    assert provider.secret_in == ()
    assert provider.delivery_of(REQUEST) is None
    assert provider.handshake(REQUEST, ["secret"], now=NOW) is None
    with pytest.raises(ConfigError, match="acme cannot be signed here: only the sender has the key"):
        provider.sign(REQUEST, "secret", now=NOW)


@pytest.mark.parametrize(("parts", "window_s"), [((), 0), (("body",), 0), (("body", "timestamp"), 20)])
def test_the_window_is_as_long_as_the_age_on_both_sides_of_a_signed_time(parts: tuple[str, ...], window_s: int) -> None:
    assert with_options(parts=parts).window_s == window_s


@pytest.mark.parametrize(
    "options", [{}, {"max_age": 5}, {"max_age": 0.5}, {"strict": True}, {"word": "x", "max_age": 1.5, "strict": False}]
)
def test_options_set_fields(options: Mapping[str, Any]) -> None:
    assert with_options().with_options(options) == with_options(**options)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"name": "x"}, "acme has no option 'name'; it has: max_age, strict, word"),
        ({"max_age": 0}, "max_age of acme must be more than 0, not 0"),
        ({"max_age": -5}, "max_age of acme must be more than 0, not -5"),
        ({"max_age": float("nan")}, "max_age of acme must be more than 0, not nan"),
        ({"max_age": "5"}, "max_age of acme must be a number, not a string"),
        ({"max_age": True}, "max_age of acme must be a number, not true or false"),
        ({"strict": 1}, "strict of acme must be true or false, not an integer"),
        ({"word": None}, "word of acme must be a string, not nothing"),
    ],
)
def test_an_option_that_cannot_be_is_refused_by_name(options: Mapping[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        with_options().with_options(options)

    assert reason in str(caught.value)


def test_a_provider_without_options_says_so() -> None:
    provider = Minimal(name="acme", documentation=PAGE)

    with pytest.raises(ConfigError, match="acme has no option 'max_age'; it has: none"):
        provider.with_options({"max_age": 5})


def test_a_certificate_that_is_needed_is_asked_for_by_an_error_that_passes() -> None:
    cache: dict[str, bytes] = {}

    error = CertificateNeeded("https://acme.example/key.pem", cache)

    assert isinstance(error, Unavailable)
    assert (error.url, error.cache is cache) == ("https://acme.example/key.pem", True)
    assert "the certificate at https://acme.example/key.pem" in str(error)


def test_a_challenge_may_be_unsigned_unless_the_class_that_answers_it_says_otherwise() -> None:
    class Answering(Minimal):
        def handshake(self, request: SignedRequest, secrets: Sequence[str], *, now: float) -> None:
            return None

    class Signed(Answering):
        signs_every_post = True

    assert (Minimal.signs_every_post, Answering.signs_every_post, Signed.signs_every_post) == (True, False, True)


# --- a choice between several rules

SIGNED = Scheme(name="acme", documentation=PAGE, template="{timestamp}{body}", timestamp="X-Time", key_prefix="sign_")
SHOWN = SharedSecret(name="acme", documentation=PAGE, header="X-Token", delivery="X-Delivery")
CHOICE = Choice(name="acme", documentation=PAGE, rules=(("sign_", SIGNED), ("", SHOWN)))


def test_the_prefix_of_a_secret_chooses_the_rule() -> None:
    signed = CHOICE.sign(REQUEST, "sign_secret", now=NOW)
    shown = CHOICE.sign(REQUEST, "secret", now=NOW)

    assert signed.find("X-Signature") is not None
    assert shown.headers == (("X-Token", "secret"),)
    assert CHOICE.verify(signed, ["secret", "sign_secret"], now=NOW).key == 1
    assert CHOICE.verify(shown, ["sign_secret", "other", "secret"], now=NOW).key == 2


def test_a_choice_refuses_for_the_reason_of_the_first_secret() -> None:
    with pytest.raises(BadSignature, match="X-Signature is missing"):
        CHOICE.verify(REQUEST, ["sign_secret", "secret"], now=NOW)
    with pytest.raises(BadSignature, match="X-Token is missing"):
        CHOICE.verify(REQUEST, ["secret", "sign_secret"], now=NOW)
    with pytest.raises(BadSignature, match="no secret"):
        CHOICE.verify(REQUEST, [], now=NOW)


def test_a_choice_refuses_a_head_that_no_rule_accepts() -> None:
    CHOICE.check_head(REQUEST.put("X-Token", "secret"), ["sign_secret", "secret"], now=NOW)
    with pytest.raises(BadSignature, match="X-Signature is missing"):
        CHOICE.check_head(REQUEST, ["sign_secret", "secret"], now=NOW)
    assert CHOICE.parses_body is False
    assert Choice(name="acme", documentation=PAGE, rules=(("", MINIMAL),)).parses_body


def test_a_choice_is_described_by_its_rules() -> None:
    assert CHOICE.covers == ("timestamp", "body")
    assert CHOICE.options == ("max_age",)
    assert CHOICE.window_s == 600
    assert CHOICE.secret_in == ("X-Token",)
    assert CHOICE.signed_in == ("X-Signature", "X-Time", "X-Token")
    assert CHOICE.delivery_of(REQUEST.put("X-Delivery", "7")) == "7"
    assert CHOICE.delivery_of(REQUEST) is None


def test_what_is_signed_anew_has_no_signature_by_another_rule() -> None:
    shown = CHOICE.sign(REQUEST.put("X-A", "1"), "secret", now=NOW)

    signed = CHOICE.sign_anew(shown, "sign_secret", now=NOW, id="1")
    shown_again = CHOICE.sign_anew(signed, "other", now=NOW, id="1")

    assert [name for name, _ in signed.headers] == ["X-A", "X-Time", "X-Signature"]
    assert shown_again.headers == (("X-A", "1"), ("X-Token", "other"))


def test_an_option_of_a_choice_goes_to_the_rules_that_have_it() -> None:
    signed = CHOICE.sign(REQUEST, "sign_secret", now=NOW)
    choice = CHOICE.with_options({"max_age": 5})

    assert choice.verify(signed, ["sign_secret"], now=NOW + 5).signed_at == NOW
    with pytest.raises(BadSignature, match="the limit is 5 seconds"):
        choice.verify(signed, ["sign_secret"], now=NOW + 6)
    with pytest.raises(ConfigError, match="acme has no option 'url'; it has: max_age"):
        CHOICE.with_options({"url": "x"})


def test_a_secret_is_checked_by_its_own_rule() -> None:
    CHOICE.check("sign_secret")
    CHOICE.check("secret")
    for secret in ("sign_", ""):
        with pytest.raises(ConfigError, match="empty"):
            CHOICE.check(secret)
