"""Events in files: each is a delivery of its provider, and another one each time."""

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

import hookbot.signatures.samples
from hookbot.errors import Refused
from hookbot.protocol.bodies import FORM
from hookbot.signatures import Provider, SignedRequest, load_provider, provider_names
from hookbot.signatures.owners import Ownership
from hookbot.signatures.pings import BY_PROVIDER
from hookbot.signatures.samples import HANDSHAKES, TEST, Sample, check_event, event_names, sample
from support.signature_samples import NOW, SAMPLES, sample_id
from support.signature_samples import Sample as Signed

URL = "https://hooks.example.com/unsafe/pub/in"
FOLDER = Path(hookbot.signatures.samples.__file__).parent
TEXT = "This is a test from hookbot"
ONLY_ITS_SENDER = ("aws-sns", "paypal")
KEYS = {one.name: one for one in reversed(SAMPLES)}
EVENTS = [(name, event) for name in provider_names() for event in event_names(name)]


def made(provider: Provider, event: str = TEST, id: str = "id-1", owners: Sequence[str] = ()) -> Sample:
    return sample(provider, event, id=id, now_s=NOW, owners=owners)


def signed(one: Signed, event: str = TEST, id: str = "id-1") -> SignedRequest:
    return one.provider.sign(
        made(one.provider, event, id).request(one.provider, URL), one.signing or one.secret, now=NOW
    )


@pytest.mark.parametrize("one", SAMPLES, ids=sample_id)
def test_the_test_of_a_provider_is_a_delivery_and_says_what_it_is(one: Signed) -> None:
    if one.name in ONLY_ITS_SENDER:
        return
    request = signed(one)

    assert one.provider.handshake(request, [one.secret], now=NOW) is None
    one.provider.check_head(request, [one.secret], now=NOW)
    assert one.provider.verify(request, [one.secret], now=NOW).key == 0
    assert TEXT in request.body.decode().replace("+", " ")
    assert request.find("User-Agent") == "hookbot-test"


@pytest.mark.parametrize(("name", "event"), EVENTS)
def test_every_event_is_a_delivery_that_its_provider_accepts_unless_it_is_a_handshake(name: str, event: str) -> None:
    if name in ONLY_ITS_SENDER:
        return
    one = KEYS[name]
    request = signed(one, event)

    assert one.provider.verify(request, [one.secret], now=NOW).key == 0
    assert (one.provider.handshake(request, [one.secret], now=NOW) is not None) == (event in HANDSHAKES)


@pytest.mark.parametrize(("name", "event"), EVENTS)
def test_each_is_another_delivery_and_nothing_is_left_to_be_replaced(name: str, event: str) -> None:
    if name in ONLY_ITS_SENDER:
        return
    one = KEYS[name]
    requests = [signed(one, event, id) for id in ("id-1", "id-2")]
    first, second = (one.provider.verify(request, [one.secret], now=NOW) for request in requests)

    assert first.fingerprint != second.fingerprint or first.delivery_id != second.delivery_id
    assert first.replay_key is None or first.replay_key != second.replay_key
    assert first.delivery_id is None or first.delivery_id != second.delivery_id
    assert not re.search(r"\$\{\w", f"{requests[0].body!r} {requests[0].headers}")


@pytest.mark.parametrize("name", sorted(ONLY_ITS_SENDER))
def test_what_only_its_sender_can_sign_is_read_all_the_same(name: str) -> None:
    assert len({made(load_provider(name), event, id).body for event in event_names(name) for id in "ab"}) >= 4


def test_times_are_those_of_the_event() -> None:
    content = made(load_provider("stripe"), "invoice.paid").content

    assert content["created"] == content["data"]["object"]["created"] == NOW
    assert made(load_provider("github"), "push").content["head_commit"]["timestamp"] == "2023-11-14T22:13:20Z"


def test_every_file_is_an_event_of_a_provider() -> None:
    found = {path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*.http")}

    assert {name.partition("/")[0] for name in found} <= {*provider_names(), "test.http"}
    assert len(found) > 100


def test_a_provider_of_a_plugin_has_the_common_test() -> None:
    assert event_names("acme") == [TEST]


def test_what_signs_forms_is_tested_with_one() -> None:
    provider = load_provider("hmac", {"template": "{form}"})

    assert made(provider).request(provider).find("Content-Type") == FORM


def test_an_unknown_event_is_refused_with_the_closest_or_all() -> None:
    assert check_event("stripe", "invoice.paid") == "invoice.paid"
    with pytest.raises(Refused, match=r"no sample of the event 'invoice.pay'; did you mean 'invoice.paid'\?"):
        check_event("stripe", "invoice.pay")
    with pytest.raises(Refused, match=r"choose one of PAYMENT.CAPTURE.COMPLETED, test$"):
        check_event("paypal", "refund")
    for path in ("../test", "", "../stripe/test", "..", "../github/push"):
        with pytest.raises(Refused, match="no sample"):
            made(load_provider("paypal"), path)


@pytest.mark.parametrize("name", BY_PROVIDER)
def test_no_event_is_a_ping(name: str) -> None:
    provider = load_provider(name)

    assert provider.ping
    assert not any(provider.ping.may_begin(made(provider, event).request(provider)) for event in event_names(name))


OWNED = [
    (name, event, ownership)
    for name in provider_names()
    if (ownership := load_provider(name).ownership)
    for event in event_names(name)
]


@pytest.mark.parametrize(("name", "event", "ownership"), OWNED)
@pytest.mark.parametrize("owner", ["acme", "acme/team", "enterprises/acme", 'a"me\\'])
def test_an_event_names_nobody_but_the_owner(name: str, event: str, ownership: Ownership, owner: str) -> None:
    provider = load_provider(name)
    request = made(provider, event, owners=[owner, "other"]).request(provider)

    assert list(ownership.names(request.json()))
    ownership.check(request, [owner])


def test_a_test_names_nobody_unless_it_is_told_whom() -> None:
    provider = load_provider("github")
    assert "repository" not in made(provider).content
    assert "account" not in made(load_provider("stripe"), "invoice.paid").content
    assert made(load_provider("gitlab"), "push").content["project"]["path_with_namespace"] == "acme/web/app"
