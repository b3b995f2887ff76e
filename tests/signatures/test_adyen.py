"""Adyen's payment notifications, which carry their signatures within."""

import json
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
from Adyen.util import generate_notification_sig

from hookbot.errors import BadSignature
from hookbot.signatures import SignedRequest, load_provider
from hookbot.signatures.provider import Proof
from support.signature_samples import ADYEN_ITEM, JSON, NOW

KEY, OTHER = "44" * 32, "55" * 32


def signed(*items: Any, key: str = KEY) -> dict[str, Any]:
    items = deepcopy(items)
    for item in items:
        unsigned = {name: value for name, value in item.items() if name != "additionalData"}
        item["additionalData"] = {"hmacSignature": generate_notification_sig(unsigned, key).decode()}
    return {"live": "false", "notificationItems": [{"NotificationRequestItem": item} for item in items]}


def verify(document: Any, *keys: str) -> Proof:
    return load_provider("adyen").verify(SignedRequest(json.dumps(document).encode(), JSON), keys or [KEY], now=NOW)


def test_every_notification_of_the_body_has_to_be_signed() -> None:
    good, forged = signed(ADYEN_ITEM, ADYEN_ITEM), signed(ADYEN_ITEM, {**ADYEN_ITEM, "eventCode": "REFUND"}, key=OTHER)

    assert verify(good, OTHER, KEY).key == 1
    with pytest.raises(BadSignature, match="HMAC-SHA256"):
        verify({"notificationItems": [good["notificationItems"][0], forged["notificationItems"][1]]})


@pytest.mark.parametrize(
    "change",
    [
        {"pspReference": "x"},
        {"originalReference": "x"},
        {"merchantAccountCode": "x"},
        {"merchantReference": "x"},
        {"amount": {"value": 1, "currency": "EUR"}},
        {"amount": {"value": 1130, "currency": "USD"}},
        {"amount": None},
        {"eventCode": "REFUND"},
        {"success": "false"},
        {"additionalData": {}},
        {"additionalData": {"hmacSignature": ""}},
        {"additionalData": {"hmacSignature": 5}},
        {"additionalData": {"hmacSignature": "***"}},
        {"additionalData": None},
    ],
)
def test_a_changed_field_is_refused(change: dict[str, Any]) -> None:
    document = signed(ADYEN_ITEM)
    document["notificationItems"][0]["NotificationRequestItem"] |= change

    with pytest.raises(BadSignature):
        verify(document)


MOVED = [
    ({"pspReference": "a:b", "originalReference": "c"}, {"pspReference": "a", "originalReference": "b:c"}),
    (
        {"merchantAccountCode": "a", "merchantReference": "b:c"},
        {"merchantAccountCode": "a:b", "merchantReference": "c"},
    ),
    ({"eventCode": "a:b", "success": "c"}, {"eventCode": "a", "success": "b:c"}),
    ({"merchantReference": "a:1130"}, {"merchantReference": "a", "amount": {"value": "1130:1130", "currency": "EUR"}}),
]


@pytest.mark.parametrize(("genuine", "moved"), MOVED)
def test_no_part_of_a_field_can_move_into_the_next(genuine: dict[str, str], moved: dict[str, Any]) -> None:
    document = signed({**ADYEN_ITEM, **genuine})
    document["notificationItems"][0]["NotificationRequestItem"] |= moved

    with pytest.raises(BadSignature, match=r"contains ':'|not an integer"):
        verify(document)


def test_a_reference_may_contain_a_colon() -> None:
    assert verify(signed({**ADYEN_ITEM, "merchantReference": "order:7"})).key == 0


@pytest.mark.parametrize(
    "change", [{"success": True}, {"pspReference": 5}, {"amount": {"value": "1130", "currency": "EUR"}}]
)
def test_a_field_of_another_type_is_refused_though_it_has_the_same_text(change: dict[str, Any]) -> None:
    with pytest.raises(BadSignature, match="is not a"):
        verify(signed({**ADYEN_ITEM, **change}))


def test_two_notifications_are_never_taken_for_one() -> None:
    item = {**ADYEN_ITEM, "originalReference": "o", "merchantReference": "r"}
    names = ("pspReference", "originalReference", "merchantAccountCode", "merchantReference")
    begin, end = ":".join(str(item[name]) for name in names), f"1130:EUR:{item['eventCode']}:{item['success']}"
    of_both = {**item, "merchantReference": f"r:{end}\\n{begin}"}

    assert verify(signed(item, item)).fingerprint != verify(signed(of_both)).fingerprint


def test_a_repeat_with_newer_details_is_marked_and_not_dropped() -> None:
    document = signed(ADYEN_ITEM)
    first = verify(document)
    document["notificationItems"][0]["NotificationRequestItem"]["reason"] = "033899:1111:03/2030"

    assert verify(document) == first
    assert (first.delivery_id, first.replay_key) == (first.fingerprint, None)


@pytest.mark.parametrize("document", [[], {}, {"notificationItems": []}, {"notificationItems": [5]}, {"a": None}, "x"])
def test_a_body_without_a_notification_is_refused(document: list[Any] | dict[str, Any] | str) -> None:
    with pytest.raises(BadSignature):
        verify(document)


def test_other_webhooks_are_signed_as_a_whole_in_a_header() -> None:
    signed = load_provider("adyen").sign(
        SignedRequest(b'{"type": "balancePlatform.transfer.created"}', JSON), KEY, now=NOW
    )

    proof = load_provider("adyen").verify(signed, [OTHER, KEY], now=NOW)

    assert (proof.key, proof.delivery_id) == (1, None)
    with pytest.raises(BadSignature, match="HMAC-SHA256"):
        load_provider("adyen").verify(replace(signed, body=b"{}"), [KEY], now=NOW)


def test_payment_notifications_are_covered_by_their_fields() -> None:
    assert load_provider("adyen").covers == ("fields",)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"success":', '"success": "false", "success":'),
        ('"success":', '"Success": "false", "success":'),
        # A reader in Go takes an old form of s for it.
        ('"success":', '"\\u017fuccess": "false", "success":'),
        ('"success":', '"OriginalReference": "x", "success":'),
        ('"currency":', '"Currency": "USD", "currency":'),
        ('"notificationItems":', '"NotificationItems": [], "notificationItems":'),
        ('"NotificationRequestItem":', '"notificationRequestItem": {}, "NotificationRequestItem":'),
    ],
)
def test_no_reader_finds_another_value_of_a_signed_field(old: str, new: str) -> None:
    body = json.dumps(signed(ADYEN_ITEM))
    assert load_provider("adyen").verify(SignedRequest(body.encode(), JSON), [KEY], now=NOW).key == 0

    with pytest.raises(BadSignature, match=r"twice in one object|could be taken for a signed one"):
        load_provider("adyen").verify(SignedRequest(body.replace(old, new).encode(), JSON), [KEY], now=NOW)


def test_a_merchant_may_name_fields_of_its_own_as_it_likes() -> None:
    document = signed(ADYEN_ITEM)
    data = document["notificationItems"][0]["NotificationRequestItem"]["additionalData"]
    data |= {"metadata.a": "1", "metadata.A": "2", "Success": "no"}

    assert verify(document).key == 0


def test_the_same_notifications_in_another_order_or_number_are_a_repeat() -> None:
    first, second = ADYEN_ITEM, {**ADYEN_ITEM, "pspReference": "8814073381342284"}

    assert verify(signed(first, second)) == verify(signed(second, first, first))


def test_neither_a_notification_nor_another_webhook_passes_for_the_other() -> None:
    [item] = signed({**ADYEN_ITEM, "originalReference": ""})["notificationItems"]
    notification = item["NotificationRequestItem"]
    names = ("pspReference", "originalReference", "merchantAccountCode", "merchantReference")
    text = ":".join((*map(notification.get, names), "1130", "EUR", "AUTHORISATION", "true"))
    header = ("HmacSignature", notification["additionalData"]["hmacSignature"])
    with pytest.raises(BadSignature, match="must be a JSON object"):
        load_provider("adyen").verify(SignedRequest(text.encode(), (*JSON, header)), [KEY], now=NOW)

    webhook = SignedRequest(b'{"x":"y","a":"b","c":"d","e::EUR":"AUTHORISATION","f":true}', JSON)
    parts = webhook.body.decode().split(":")
    moved = {**dict(zip(names, (*parts[:3], ":".join(parts[3:-4])), strict=True)), "additionalData": {}}
    moved |= {"amount": {"value": None, "currency": parts[-3]}, "eventCode": parts[-2], "success": parts[-1]}
    genuine = load_provider("adyen").sign(webhook, KEY, now=NOW)
    assert load_provider("adyen").verify(genuine, [KEY], now=NOW).key == 0
    moved["additionalData"] = {"hmacSignature": genuine.need("HmacSignature")}
    with pytest.raises(BadSignature, match="begins like the body"):
        verify({"notificationItems": [{"NotificationRequestItem": moved}]})


def test_each_notification_is_signed_in_the_body_and_another_webhook_in_its_header() -> None:
    provider = load_provider("adyen")
    items = [{"NotificationRequestItem": item} for item in (ADYEN_ITEM, {**ADYEN_ITEM, "additionalData": {"a": "b"}})]
    payments = SignedRequest(json.dumps({"notificationItems": items, "rate": 1}).encode(), JSON)
    webhook = SignedRequest(b'{"type":"balancePlatform.transfer.created"}', JSON)

    first, second = (provider.sign(request, KEY, now=NOW) for request in (payments, webhook))

    assert [provider.verify(request, [OTHER, KEY], now=NOW).key for request in (first, second)] == [1, 1]
    assert first.headers == JSON
    assert first.json()["notificationItems"][1]["NotificationRequestItem"]["additionalData"].keys() == {
        "a",
        "hmacSignature",
    }
    assert second.body == webhook.body
    assert second.find("HmacSignature")
