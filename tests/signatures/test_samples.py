"""Samples of deliveries, which say that they are tests."""

import pytest

from hookbot.signatures import load_provider, provider_names
from hookbot.signatures.owners import Ownership
from hookbot.signatures.pings import BY_PROVIDER
from hookbot.signatures.samples import TEXT, sample
from support.signature_samples import NOW, SAMPLES, Sample, sample_id

URL = "https://hooks.example.com/unsafe/pub/in"
ONLY_ITS_SENDER = {"discord", "sendgrid", "microsoft-graph", "aws-sns", "paypal"}


@pytest.mark.parametrize("one", SAMPLES, ids=sample_id)
def test_a_sample_is_a_delivery_of_its_provider_and_no_handshake(one: Sample) -> None:
    made = sample(one.provider, URL, "id-1")
    if one.name in ONLY_ITS_SENDER:
        return
    signed = one.provider.sign(made, one.signing or one.secret, now=NOW)

    assert one.provider.handshake(signed, [one.secret], now=NOW) is None
    one.provider.check_head(signed, [one.secret], now=NOW)
    assert one.provider.verify(signed, [one.secret], now=NOW).key == 0
    assert TEXT in signed.body.decode().replace("+", " ")


@pytest.mark.parametrize("one", SAMPLES, ids=sample_id)
def test_each_sample_is_another_delivery(one: Sample) -> None:
    if one.name in ONLY_ITS_SENDER:
        return
    first, second = (
        one.provider.verify(
            one.provider.sign(sample(one.provider, URL, id), one.signing or one.secret, now=NOW), [one.secret], now=NOW
        )
        for id in ("id-1", "id-2")
    )

    assert first.fingerprint != second.fingerprint or first.replay_key != second.replay_key
    assert first.replay_key is None or first.replay_key != second.replay_key
    assert first.delivery_id is None or first.delivery_id != second.delivery_id


@pytest.mark.parametrize("name", BY_PROVIDER)
def test_no_sample_is_a_ping(name: str) -> None:
    provider = load_provider(name)

    assert provider.ping
    assert not provider.ping.may_begin(sample(provider, URL, "id-1"))


OWNED = [(name, ownership) for name in provider_names() if (ownership := load_provider(name).ownership)]


@pytest.mark.parametrize(("name", "ownership"), OWNED)
@pytest.mark.parametrize("owner", ["acme", "acme/team", "enterprises/acme"])
def test_a_sample_names_an_owner(name: str, ownership: Ownership, owner: str) -> None:
    made = sample(load_provider(name), URL, "id-1", [owner, "other"])

    ownership.check(made, [owner])
    assert list(ownership.names(made.json()))
