"""Every provider, and everything that may be wrong with a request."""

import re
from dataclasses import replace

import pytest

from hookbot.errors import BadSignature, ConfigError
from hookbot.signatures import SignedRequest, provider_names
from hookbot.signatures.scheme import Scheme
from support.signature_samples import NOW, SAMPLES, Sample, sample_id

every_provider = pytest.mark.parametrize("sample", SAMPLES, ids=sample_id)
signing_the_body = pytest.mark.parametrize("sample", [s for s in SAMPLES if s.body_is_signed], ids=sample_id)
signing_the_time = pytest.mark.parametrize(
    "sample", [s for s in SAMPLES if "timestamp" in s.provider.covers and s.label != "secret token"], ids=sample_id
)
hmac_only = pytest.mark.parametrize(
    "sample",
    [s for s in SAMPLES if isinstance(s.provider, Scheme) and s.provider.algorithm.startswith("hmac-")],
    ids=sample_id,
)


def refusal(sample: Sample, request: SignedRequest, *secrets: str, now: float = NOW) -> str:
    """Reason of the refusal, which never contains a secret or the right signature."""
    with pytest.raises(BadSignature) as caught:
        sample.provider.verify(request, secrets or (sample.secret,), now=now)
    for secret in {sample.secret, sample.other, *secrets}:
        assert secret not in str(caught.value) or secret.encode() in request.body  # a topic of SNS stands there
    return str(caught.value)


def added(sample: Sample) -> list[str]:
    """The headers that signing put there."""
    before = {name for name, _ in sample.request.headers}
    return [name for name, _ in sample.signed().headers if name not in before]


def with_header(request: SignedRequest, name: str, value: str) -> SignedRequest:
    return replace(request, headers=tuple((n, value if n == name else v) for n, v in request.headers))


def test_there_is_a_sample_of_every_provider() -> None:
    assert {sample.name for sample in SAMPLES} == set(provider_names())


@pytest.mark.slow
@every_provider
def test_a_good_request_passes(sample: Sample) -> None:
    proof = sample.provider.verify(sample.signed(), [sample.secret], now=NOW + 30)

    assert proof.key == 0
    assert re.fullmatch("[0-9a-f]{64}", proof.fingerprint)
    sample.provider.check(sample.secret)


@every_provider
def test_in_a_rotation_any_of_the_secrets_will_do(sample: Sample) -> None:
    assert sample.provider.verify(sample.signed(), [sample.other, sample.secret], now=NOW).key == 1


@every_provider
def test_another_secret_is_refused(sample: Sample) -> None:
    refusal(sample, sample.signed(), sample.other)


@signing_the_body
def test_every_changed_byte_of_the_body_is_refused(sample: Sample) -> None:
    signed = sample.signed()
    for position in range(0, len(signed.body), 7):
        changed = bytearray(signed.body)
        changed[position] ^= 1

        if changed.lower() != signed.body.lower():  # a percent-escape in a form may be written in either case
            refusal(sample, replace(signed, body=bytes(changed)))


@every_provider
def test_a_request_without_a_signature_is_refused_and_the_missing_place_is_named(sample: Sample) -> None:
    unsigned = replace(sample.request, body=b"{}") if sample.name in ("aws-sns", "microsoft-graph") else sample.request

    reason = refusal(sample, unsigned)

    assert re.search("missing|there is neither|has no notifications|has no JSON", reason)


@every_provider
def test_a_head_without_a_signature_is_refused_before_the_body_unless_the_signature_is_in_the_body(
    sample: Sample,
) -> None:
    signed, unsigned = (replace(request, body=b"") for request in (sample.signed(), sample.request))

    sample.provider.check_head(signed, [sample.secret], now=NOW)
    if sample.name in ("adyen", "aws-sns", "mailgun", "microsoft-graph"):
        sample.provider.check_head(unsigned, [sample.secret], now=NOW)
        assert sample.provider.parses_body
    else:
        with pytest.raises(BadSignature, match="missing"):
            sample.provider.check_head(unsigned, [sample.secret], now=NOW)


@every_provider
def test_what_was_found_in_the_head_proves_the_same_with_the_body(sample: Sample) -> None:
    signed = sample.signed()
    head = replace(signed, body=b"")
    sample.provider.check_head(head, [sample.secret], now=NOW)
    whole = head.with_body(signed.body)

    proof = sample.provider.verify(signed, [sample.secret], now=NOW)
    assert sample.provider.verify(whole, [sample.secret], now=NOW) == proof
    refusal(sample, whole, sample.other)


@every_provider
def test_each_header_of_the_signature_may_not_be_missing_empty_or_doubled(sample: Sample) -> None:
    signed = sample.signed()
    for name in added(sample):
        headers = tuple(pair for pair in signed.headers if pair[0] != name)
        doubled = replace(signed, headers=(*signed.headers, (name, dict(signed.headers)[name] + "0")))

        refusal(sample, replace(signed, headers=headers))
        refusal(sample, with_header(signed, name, ""))
        if sample.name != "docusign":  # sends a header for each key, and one right signature is enough
            refusal(sample, doubled)


@every_provider
@pytest.mark.parametrize(
    "value", ["=", "sha256=", "v0=", "v1,", "t=1,v1=", "Basic ", "\x00", "é", "ü" * 64, "0" * 9999]
)
def test_a_header_with_something_else_in_it_is_refused(sample: Sample, value: str) -> None:
    for name in added(sample):
        refusal(sample, with_header(sample.signed(), name, value))


@hmac_only
def test_a_signature_of_another_algorithm_is_refused(sample: Sample) -> None:
    assert isinstance(sample.provider, Scheme)
    other = "hmac-sha512" if sample.provider.algorithm != "hmac-sha512" else "hmac-sha256"
    signed = replace(sample.provider, algorithm=other).sign(sample.request, sample.secret, now=NOW)

    assert "is not the HMAC-SHA" in refusal(sample, signed)


@signing_the_time
def test_a_stale_request_and_one_from_the_future_are_refused(sample: Sample) -> None:
    max_age = {"aws-sns": 3600, "twitch": 600, "jwt": 360}.get(sample.name, 60 if sample.label == "everything" else 300)
    signed = sample.signed()

    assert "ago" in refusal(sample, signed, now=NOW + max_age + 2)
    assert re.search("in the future|not valid for another", refusal(sample, signed, now=NOW - max_age - 2))
    assert sample.provider.verify(signed, [sample.secret], now=NOW).signed_at == pytest.approx(NOW, abs=1)


@signing_the_time
def test_the_time_cannot_be_changed(sample: Sample) -> None:
    later = sample.signed(NOW + 5000)
    signed = sample.signed()

    for name in added(sample):
        if dict(later.headers)[name] != dict(signed.headers)[name]:
            refusal(sample, with_header(signed, name, dict(later.headers)[name]))


@every_provider
def test_a_repeat_is_recognised_where_an_id_or_the_time_is_signed(sample: Sample) -> None:
    signed = sample.signed()
    first, second = (sample.provider.verify(signed, [sample.secret], now=NOW + delay) for delay in (0, 9))

    assert first == second
    nothing_to_tell_it_by = not {"id", "timestamp"} & set(sample.provider.covers) or (
        sample.label == "secret token" or (sample.name == "jwt" and not sample.body_is_signed)
    )
    # Other forms can have the text that Twilio signs, so that the text is what a repeat is known by.
    nothing_to_tell_it_by = nothing_to_tell_it_by and (sample.name, sample.label) != ("twilio", "form")
    assert (first.replay_key is None) == nothing_to_tell_it_by


@every_provider
def test_what_is_a_secret_by_itself_is_named_and_can_be_taken_out(sample: Sample) -> None:
    signed = sample.signed()

    shown = signed.without(sample.provider.secret_in)

    if sample.provider.secret_in and sample.label != "signing token":
        refusal(sample, shown)
        assert sample.secret not in repr(shown)
    else:
        assert shown == signed


@every_provider
def test_an_empty_secret_is_never_accepted(sample: Sample) -> None:
    with pytest.raises(ConfigError):
        sample.provider.check("")


# -- signed anew, for another receiver

SIGNED_BY_THE_SENDER_ALONE = ("aws-sns", "paypal")
signable = pytest.mark.parametrize(
    "sample", [s for s in SAMPLES if s.name not in SIGNED_BY_THE_SENDER_ALONE], ids=sample_id
)


@signable
def test_what_is_signed_anew_is_genuine_later_and_has_each_place_once(sample: Sample) -> None:
    old = sample.signed()

    new = sample.provider.sign_anew(old, sample.signing or sample.secret, now=NOW + 86_400, id="msg-1")

    assert sample.provider.verify(new, [sample.secret], now=NOW + 86_400)
    assert len(new.headers) == len(old.headers)
    assert new.url.count("&") == old.url.count("&")


@signable
def test_an_attempt_is_signed_like_the_one_before_but_for_its_time(sample: Sample) -> None:
    first, second = (
        sample.provider.sign_anew(sample.request, sample.signing or sample.secret, now=NOW + n, id="msg-1")
        for n in range(2)
    )

    proofs = [sample.provider.verify(signed, [sample.secret], now=NOW) for signed in (first, second)]

    ids = {proof.replay_key for proof in proofs if proof.replay_key != proof.fingerprint}
    assert len(ids) <= 1


@pytest.mark.parametrize("name", SIGNED_BY_THE_SENDER_ALONE)
def test_what_only_its_sender_can_sign_is_not_signed_anew(name: str) -> None:
    sample = next(sample for sample in SAMPLES if sample.name == name)

    with pytest.raises(ConfigError, match="only the sender has the key"):
        sample.provider.sign_anew(sample.request, sample.secret, now=NOW, id="msg-1")
