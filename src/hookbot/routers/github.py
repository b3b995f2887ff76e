"""The GitHub router: one webhook of an organisation or an app, rebroadcast by repository, branch and account."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Required, TypedDict

from ..errors import BadSignature, ConfigError, kind_of
from ..protocol.bodies import VERIFIED
from ..protocol.content import part_reader, read_content
from ..protocol.github_metadata import encode_go_json
from ..protocol.message import Message
from ..signatures import SignedRequest, load_provider
from ..signatures.owners import GITHUB, Name
from . import Secret
from .computing import ComputingRouter, Publishing

# Nearly all of GitHub's payloads; whatever they hold, verifying and parsing takes less than a millisecond.
SMALL_BYTES = 32 << 10

logger = logging.getLogger(__package__)

_JSON = (("Content-Type", "application/json"),)


class _Repository(TypedDict):
    full_name: str


class _Pusher(TypedDict):
    name: str


class _Organization(TypedDict, total=False):
    login: Required[str]
    username: str


class _Delivery(TypedDict, total=False):
    """All that the router reads of a delivery about a repository or an organisation."""

    repository: _Repository
    organization: _Organization
    ref: str
    after: str
    deleted: bool
    pusher: _Pusher


class GitHubRouter(ComputingRouter):
    """Rebroadcasts one GitHub webhook as a topic for each repository, branch and account.

    Reads ``/unsafe/github.com/`` and publishes only deliveries that GitHub has signed:

    - of a push, the ancestor's summary to ``github.com/repo/OWNER/NAME/branch/REF``
    - any delivery about a repository, with body and headers unchanged, to ``github.com/repo/OWNER/NAME``
    - one about no repository to ``github.com/org/LOGIN``, or for an enterprise to ``github.com/enterprise/SLUG``
    - one about none of these to ``github.com/event/EVENT``
    """

    name = "github"
    topics: Sequence[str] = ("/unsafe/github.com/",)
    small_bytes = SMALL_BYTES

    def __init__(
        self,
        secrets: Sequence[Secret],
        events: Sequence[str] = (),
        tags: bool = True,
        deleted_refs: bool = True,
        host: str = "github.com",
    ) -> None:
        """`secrets`: secrets of the webhook; a signature with any of them is valid.

        `events`: values of ``X-GitHub-Event`` to publish; all if empty. `tags`, `deleted_refs`: False to publish no
        summary of pushes of tags, or of pushes that delete a ref (their SHA is all zeros). `host`: host name of a
        GitHub Enterprise Server; it replaces ``github.com`` in the topics. Raises `ConfigError` if there is no secret,
        or an unusable one.
        """
        if not secrets:
            raise ConfigError("secrets is empty: the router needs the secret of the webhook, as entered on GitHub")
        self._read_part = part_reader(_Delivery)
        self._provider = load_provider("github")
        for secret in secrets:
            self._provider.check(secret)
        self.topics = (f"/unsafe/{host}/",)
        self._secrets = secrets
        self._events = frozenset(events)
        self._tags = tags
        self._deleted_refs = deleted_refs
        self._host = host

    def publishes(self, message: Message) -> Sequence[Publishing]:
        """Messages to publish for a delivery; none for one without a valid signature, with a warning.

        Nothing for one of another event, too. Raises `ValueError` for one of no known shape, which names no event.
        """
        try:
            self._verify(message)
        except BadSignature as error:
            delivery = message.header("x-github-delivery")
            logger.warning("dropped delivery %.80s (message %s): %s", delivery, message.id, error)
            return []
        event = message.header("x-github-event") or ""
        if self._events and event not in self._events:
            return []
        payload = self._payload(message)
        name = next(GITHUB.names(payload), Name("event", event))
        if not name.path:
            raise ValueError("the delivery names no repository, account, enterprise or event")
        topic = f"{self._host}/{name.kind}/{name.path}"
        whole = Publishing(topic, message, wrapped=True)
        if event == "push" and _is_push(payload) and self._wants_summary(payload):
            branch = payload["ref"].removeprefix("refs/heads/")
            return [Publishing(f"{topic}/branch/{branch}", _summary(payload), _JSON), whole]
        return [whole]

    def _payload(self, message: Message) -> dict[str, Any]:
        part: dict[str, Any] | None = self._read_part(message.body)
        if part and ("repository" in part or "organization" in part):
            return part
        payload = read_content(message.body, message.header("content-type") or "", VERIFIED)
        if not isinstance(payload, dict):
            raise ValueError(f"the body of a delivery must be a JSON object, not {kind_of(payload)}")
        return payload

    def _wants_summary(self, push: dict[str, Any]) -> bool:
        if push["ref"].startswith("refs/tags/") and not self._tags:
            return False
        return self._deleted_refs or not push.get("deleted")

    def _verify(self, message: Message) -> None:
        # Otherwise the source of its topic has checked signature and owners before the message was stored.
        if not self._provider.vouches_for(message):
            self._provider.verify(
                SignedRequest(message.body, message.headers), self._secrets, now=message.time_us / 1e6
            )


class VerifyingGitHubRouter(GitHubRouter):
    """GitHub router that verifies every message, even one that the hub reports as verified."""

    def publishes(self, message: Message) -> Sequence[Publishing]:
        """Messages that `GitHubRouter` publishes for a delivery that it verifies."""
        return super().publishes(replace(message, verified=None))


def _is_push(payload: dict[str, Any]) -> bool:
    """True if the payload is that of a push. The header is not signed: who repeats a delivery can call it any event."""
    return bool(payload.get("repository")) and all(isinstance(payload.get(name), str) for name in ("ref", "after"))


def _summary(push: dict[str, Any]) -> bytes:
    """Summary of a push, byte for byte as the ancestor writes it."""
    return encode_go_json(
        {
            "Type": "push",
            "Repo": push["repository"]["full_name"],
            "Branch": push["ref"].removeprefix("refs/heads/"),
            "SHA": push["after"],
            "Who": _who(push.get("pusher")),
        }
    ).encode()


def _who(pusher: Any) -> str:
    match pusher:
        case None:
            return "<unknown>"
        case {"name": str(name)}:
            return name
    return ""
