"""Sample deliveries of sources, as the hub signs and admits them."""

from dataclasses import replace
from ipaddress import ip_network

import pytest

from hookbot.access.authorizer import Authorizer
from hookbot.access.control import AccessControl
from hookbot.access.sample_deliveries import request_of, sample_topic, sign_sample
from hookbot.access.sources import Source, Sources
from hookbot.errors import NotFound, Refused
from hookbot.protocol.message import Draft
from support import KEY
from support.signature_samples import NOW, SAMPLES, Sample, sample_id

ONLY_ITS_SENDER = [one for one in SAMPLES if one.signing or one.name in ("discord", "sendgrid", "aws-sns", "paypal")]
SIGNED = [one for one in SAMPLES if one not in ONLY_ITS_SENDER]


def make_access(*sources: Source) -> AccessControl:
    return AccessControl(
        Authorizer([KEY]), clock_us=lambda: int(NOW * 1e6), sources=Sources(sources), unsafe_prefixes=["in"]
    )


@pytest.mark.parametrize("url", ["", "https://hooks.example.com"])
@pytest.mark.parametrize("topic", ["/unsafe/in/", "/unsafe/in", "a b/", "a"])
@pytest.mark.parametrize("one", SIGNED, ids=sample_id)
async def test_a_sample_of_every_provider_is_verified_as_that_of_its_sender(one: Sample, topic: str, url: str) -> None:
    # Whoever may send, the hub may.
    source = Source(
        topic,
        one.provider,
        [one.secret, one.other],
        url=url,
        single_use=True,
        allow_from=(ip_network("192.0.2.1"),),
        certificates=["CN=x"],
    )
    access = make_access(source)

    signed = sign_sample(source, sample_topic(topic), now_s=NOW)
    draft = await access.verifier.verify(access.admit_sample(request_of(signed, "203.0.113.1")), signed.body)

    assert isinstance(draft, Draft)
    assert draft.verified
    assert (draft.topic, draft.verified.provider, draft.verified.key) == (sample_topic(topic), one.name, "0")
    assert ("User-Agent", "hookbot-test") in draft.headers
    assert one.secret not in f"{draft.headers} {draft.query}"
    assert source.activity.accepted == 1


async def test_an_event_is_told_of_an_owner_of_the_source() -> None:
    source = Source("/unsafe/in", SIGNED[0].provider, [SIGNED[0].secret], owners=["umbrella"])
    access = make_access(source)

    signed = sign_sample(source, "/unsafe/in", event="push", now_s=NOW)
    draft = await access.verifier.verify(access.admit_sample(request_of(signed, "")), signed.body)

    assert isinstance(draft, Draft)
    assert ("X-GitHub-Event", "push") in draft.headers
    assert signed.json()["repository"]["full_name"] == "umbrella/app"


@pytest.mark.parametrize("one", ONLY_ITS_SENDER, ids=sample_id)
def test_what_only_the_sender_can_sign_is_not_signed(one: Sample) -> None:
    with pytest.raises(Refused, match="only its sender has the key"):
        sign_sample(Source("a", one.provider, [one.secret]), "a", now_s=NOW)


def test_a_sample_is_refused_where_no_delivery_would_be_accepted() -> None:
    github = SIGNED[0]
    source = Source("/unsafe/in", github.provider, [github.secret])
    signed = sign_sample(source, "/unsafe/in", now_s=NOW)

    with pytest.raises(Refused):
        make_access(replace(source, secrets=["another secret"])).admit_sample(request_of(signed, "")).accept(
            signed.body, now_s=NOW
        )
    with pytest.raises(NotFound, match="no such unsafe topic"):
        make_access().admit_sample(request_of(sign_sample(source, "/unsafe/out", now_s=NOW), ""))
