"""Events: samples in files, with ids and times that are new.

A file is written like a request: headers, an empty line, and JSON, which is the body, or for a form its fields. It is
named after its event, percent-encoded, in the folder of the provider. What stands in ``${...}`` is replaced by a value
of `_values`; in JSON, within the quotation marks of a string or in place of a number.
"""

import re
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import formatdate
from functools import lru_cache
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any
from urllib.parse import quote, unquote
from uuid import UUID

from ...errors import Refused, did_you_mean
from ...protocol.bodies import FORM
from ...protocol.json_text import read_json, write_json
from ...protocol.message import Headers
from ..owners import BitbucketOwnership, GitHubOwnership, GitLabOwnership, Ownership, StripeOwnership
from ..places import parse_place
from ..provider import Provider
from ..scheme import Scheme
from .sample import Sample

TEST = "test"
"""The event of every provider: a small delivery, which says that it is a test of hookbot."""
HANDSHAKES = frozenset(
    {
        "Microsoft.EventGrid.SubscriptionValidationEvent",
        "PING",
        "endpoint.url_validation",
        "url_verification",
        "webhook_callback_verification",
    }
)
"""Events that a hub answers and does not store."""

_SUFFIX = ".http"
_PLACEHOLDER = re.compile(r"\$\{(\w+)\}")
_AGENT = ("User-Agent", "hookbot-test")
_JSON = ("Content-Type", "application/json")
# Whom a sample is about where its source is not bound to others.
_OWNERS = {"gitlab": "acme/web"}


@lru_cache
def event_names(provider: str) -> Sequence[str]:
    """Names of the events of a provider, sorted; each provider has `TEST`."""
    return sorted({TEST, *_names(files(__package__) / provider)})


def check_event(provider: str, event: str) -> str:
    """The event unchanged; raises `Refused` if the provider has no sample of it."""
    names = event_names(provider)
    if event not in names:
        close = did_you_mean(event, names) or f"choose one of {', '.join(names)}"
        raise Refused(f"{provider} has no sample of the event {event[:80]!r}; {close}")
    return event


def sample(provider: Provider, event: str = TEST, *, id: str, now_s: float, owners: Sequence[str] = ()) -> Sample:
    """Sample of an event that happens at `now_s` to the first of some owners. Another `id` makes it another delivery.

    Raises `Refused` for an unknown event.
    """
    values = _values(id, now_s, owners[0] if owners else _OWNERS.get(provider.name, "acme"))
    text = _text(provider.name, check_event(provider.name, event))
    made = _common(provider, values) if text is None else _filled(text, values)
    if provider.ownership and owners and isinstance(made.content, dict):
        made = replace(made, content={**_owned_by(provider.ownership, owners[0]), **made.content})
    return made


# The list of sources shows whether each can be tested, every two seconds to somebody who looks at it.
@lru_cache(maxsize=32)
def _text(folder: str, event: str) -> str | None:
    """Text of the file of an event, None if there is none."""
    file = files(__package__) / folder / f"{quote(event, safe='')}{_SUFFIX}"
    return file.read_text("utf-8") if file.is_file() else None


def _filled(text: str, values: Mapping[str, str]) -> Sample:
    text = _PLACEHOLDER.sub(lambda found: values[found[1]], text)
    head, _, body = f"\n{text}".partition("\n\n")
    pairs = (line.partition(": ") for line in head.split("\n")[1:])
    headers: Headers = (*((name, value) for name, _, value in pairs), _AGENT)
    if not any(name == "Content-Type" for name, _ in headers):
        headers = (_JSON, *headers)
    return Sample(values["id"], headers, read_json(body))


def _common(provider: Provider, values: Mapping[str, str]) -> Sample:
    """The test of providers without one of their own, with the id where they have one in the body."""
    made = _filled(_text("", TEST) or "", values)
    for place in filter(None, (getattr(provider, "id", ""), getattr(provider, "delivery", ""))):
        kind, path, _ = parse_place(place.partition("|")[0])
        if kind == "json":
            made = made.with_value(path, made.id)
    signs_forms = isinstance(provider, Scheme) and "form" in provider.template
    return made.with_headers((("Content-Type", FORM),)) if signs_forms else made


def _names(folder: Traversable) -> Iterator[str]:
    for file in folder.iterdir() if folder.is_dir() else ():
        if file.name.endswith(_SUFFIX):
            yield unquote(file.name.removesuffix(_SUFFIX))


def _values(id: str, now_s: float, owner: str) -> Mapping[str, str]:
    """Values of the placeholders: ids that follow from `id`, in the forms that senders give them, and times."""
    digest = sha256(id.encode()).digest()
    letters = re.sub("[^A-Za-z0-9]", "", b64encode(digest).decode()).ljust(24, "0")[:24]
    time = datetime.fromtimestamp(int(now_s), UTC).isoformat().removesuffix("+00:00")
    return {
        "id": id,
        "uuid": str(UUID(bytes=digest[:16], version=4)),
        "hex32": digest.hex()[:32],
        "hex40": digest.hex()[:40],
        "letters": letters,
        "letters16": letters[:16].upper(),
        "number": str(10**9 + int.from_bytes(digest[:8]) % 10**9),
        "owner": write_json(owner)[1:-1],
        "seconds": str(int(now_s)),
        "milliseconds": str(int(now_s * 1000)),
        "time": f"{time}Z",
        "time_ms": f"{time}.000Z",
        "rfc2822": formatdate(now_s),
    }


def _owned_by(ownership: Ownership, owner: str) -> Mapping[str, Any]:
    """The part of a body that names something of an owner."""
    match ownership:
        case GitHubOwnership() if owner.startswith("enterprises/"):
            return {"enterprise": {"slug": owner.removeprefix("enterprises/")}}
        case GitHubOwnership() | BitbucketOwnership():
            return {"repository": {"full_name": f"{owner}/hookbot-test"}}
        case GitLabOwnership():
            return {"project": {"path_with_namespace": f"{owner}/hookbot-test"}}
        case StripeOwnership():
            return {"account": owner}
    return {}
