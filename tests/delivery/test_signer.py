"""Signers: what they sign is genuine to its receiver, at each attempt."""

import pytest

from hookbot.delivery.signer import Signer
from hookbot.errors import ConfigError
from hookbot.signatures import SignedRequest, load_provider
from support.signature_samples import SAMPLES, Sample, sample_id

SIGNABLE = [sample for sample in SAMPLES if sample.name not in ("aws-sns", "paypal")]


@pytest.mark.parametrize("sample", SIGNABLE, ids=sample_id)
def test_whatever_can_be_signed_has_a_signer(sample: Sample) -> None:
    assert Signer.load(sample.name, sample.options, sample.signing or sample.secret).provider == sample.provider


@pytest.mark.parametrize(
    ("name", "secret", "said"),
    [
        ("paypal", "s3cret", "a request of paypal cannot be signed here: only the sender has the key"),
        ("githup", "s3cret", "unknown provider 'githup'; did you mean 'github'"),
        ("discord", "00" * 31, "discord is signed with a private key for Ed25519"),
        ("standard-webhooks", "whsec_!", "must be base64, and this one is not"),
    ],
)
def test_what_cannot_be_signed_is_refused_before_the_first_message(name: str, secret: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as refused:
        Signer.load(name, {}, secret)
    assert secret not in str(refused.value)


def test_each_signature_is_of_its_own_time_and_replaces_the_one_before() -> None:
    times = iter([1_000_000_000.0, 1_000_000_500.0])
    slack = load_provider("slack")
    signer = Signer(slack, "secret", lambda: next(times))

    first = signer.sign("http://t/", (("X-A", "1"),), b"{}", id="1")
    second = signer.sign("http://t/", first.headers, b"{}", id="1")

    assert slack.verify(first, ["secret"], now=1_000_000_000).signed_at == 1_000_000_000
    assert slack.verify(second, ["secret"], now=1_000_000_500).signed_at == 1_000_000_500
    assert len(second.headers) == len(first.headers)


def test_the_url_is_signed_as_it_is_given() -> None:
    signed = Signer(load_provider("square"), "secret").sign("http://localhost:3000/hook?a=b", (), b"{}", id="1")

    assert signed.url == "http://localhost:3000/hook?a=b"
    with pytest.raises(Exception, match="signature"):
        load_provider("square").verify(SignedRequest(b"{}", signed.headers, "POST", "http://t/"), ["secret"], now=0)
