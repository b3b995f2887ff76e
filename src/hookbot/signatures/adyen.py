"""Adyen's signatures: over eight fields of each payment notification, in the body; over other webhooks, in a header.

https://docs.adyen.com/development-resources/webhooks/secure-webhooks/verify-hmac-signatures
"""

from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from ..errors import BadSignature
from .provider import Proof
from .request import SignedRequest, check_names
from .scheme import Scheme

_ITEMS, _ITEM = "notificationItems", "NotificationRequestItem"
_FIELDS = ("pspReference", "originalReference", "merchantAccountCode", "merchantReference")


@dataclass(frozen=True, kw_only=True)
class Adyen(Scheme):
    """Provider of Adyen: platform and management webhooks follow the scheme, payment notifications are each signed.

    Both may have the same key, and then only a webhook's body begins with ``{``: neither passes for the other.

    Adyen may repeat a payment notification with the same signed fields and newer details, of which the latest count: a
    repeat is therefore marked by its ``delivery_id`` and not dropped.
    """

    @property
    def covers(self) -> tuple[str, ...]:
        """Only fields, as in payment notifications, the common case; a signature in the header covers the body."""
        return ("fields",)

    @property
    def parses_body(self) -> bool:
        """True: the signatures of payment notifications are in the body."""
        return True

    def check_head(self, request: SignedRequest, secrets: Sequence[str], *, now: float) -> None:
        """Raise `BadSignature` if there is a signature in the header, and it is malformed."""
        if request.find_all(self.header):
            super().check_head(request, secrets, now=now)

    def verify(self, request: SignedRequest, secrets: Sequence[str], *, now: float) -> Proof:
        """Proof that the whole body is signed, or every notification in it; raises `BadSignature`.

        If notifications are signed with several secrets, `key` is that of the first.
        """
        if request.find_all(self.header):
            if not request.body.startswith(b"{"):
                raise BadSignature("the body must be a JSON object, as in every webhook of Adyen")
            return super().verify(request, secrets, now=now)
        texts, keys = [], []
        for item in _items(request.json()):
            texts.append(_signed_text(item))
            keys.append(self._item_key(item, texts[-1], secrets))
        # Nobody signs their order or number. 0xFF occurs in no UTF-8: other notifications do not look the same.
        fingerprint = sha256(b"\xff".join(sorted(set(texts)))).hexdigest()
        return Proof(key=keys[0], fingerprint=fingerprint, delivery_id=fingerprint)

    def sign(self, request: SignedRequest, secret: str, *, now: float) -> SignedRequest:
        """The request with a signature in each payment notification or, if it has none, in its header."""
        if f'"{_ITEMS}"'.encode() not in request.body:
            return super().sign(request, secret, now=now)
        document = request.editable_json()
        for item in _items(document):
            signature = self._algorithm.sign(self._key(secret), _signed_text(item))
            item["additionalData"] = {
                **(item.get("additionalData") or {}),
                "hmacSignature": b64encode(signature).decode(),
            }
        return request.with_json(document)

    def _item_key(self, item: dict[str, Any], text: bytes, secrets: Sequence[str]) -> int:
        data = item.get("additionalData")
        given = data.get("hmacSignature") if isinstance(data, dict) else None
        if not isinstance(given, str) or not given:
            raise BadSignature("a notification in the body has no additionalData.hmacSignature")
        return self._matching([self._decode(given)], text, secrets)


def _items(document: Any) -> Iterator[dict[str, Any]]:
    wrapped = _field(document, _ITEMS)
    if not isinstance(wrapped, list) or not wrapped:
        raise BadSignature("there is neither the header HmacSignature nor a signed notification in the body")
    for wrapper in wrapped:
        item = _field(wrapper, _ITEM)
        if not isinstance(item, dict):
            raise BadSignature("an element of notificationItems has no NotificationRequestItem")
        yield item


def _field(document: Any, name: str) -> Any:
    if not isinstance(document, dict):
        return None
    check_names(document, [name])
    return document.get(name)


def _signed_text(item: dict[str, Any]) -> bytes:
    amount = item.get("amount")
    amount = amount if isinstance(amount, dict) else {}
    check_names(item, (*_FIELDS, "amount", "eventCode", "success"))
    check_names(amount, ("value", "currency"))
    value = amount.get("value")
    if isinstance(value, bool) or not isinstance(value, int | None):
        raise BadSignature("the amount of a notification is not an integer")
    fields = {
        **{name: item.get(name) for name in _FIELDS},
        "value": None if value is None else str(value),
        "currency": amount.get("currency"),
        "eventCode": item.get("eventCode"),
        "success": item.get("success"),
    }
    text = ":".join(_signed_field(*field) for field in fields.items())
    if text.startswith("{"):
        raise BadSignature("the field pspReference of a notification begins like the body of another webhook")
    return text.encode("utf-8", "surrogatepass")


def _signed_field(name: str, value: Any) -> str:
    if not isinstance(value, str | None):
        raise BadSignature(f"the field {name} of a notification is not a string")
    # Adyen joins the fields by colons, and escapes none. Only the merchant chooses what is in a reference; all others
    # have none, so that it is what they leave.
    if value and ":" in value and name != "merchantReference":
        raise BadSignature(f"the field {name} of a notification contains ':', which separates it from the next one")
    return value or ""
