"""One GitHub webhook, of an organisation or of an app, rebroadcast as a topic for each repository and branch."""

import logging
from collections.abc import Sequence
from typing import Any

from ..errors import BadSignature, ConfigError
from ..protocol.envelope import encode_go_json
from ..protocol.message import Message
from ..signatures import SignedRequest, load_provider
from . import Publish, Secret
from .expressions import parse_body

logger = logging.getLogger(__name__)

_JSON = (("Content-Type", "application/json"),)


class GitHubRouter:
    """Rebroadcasts one GitHub webhook as a topic for each repository, branch and account.

    Reads ``/unsafe/github.com/`` and publishes what GitHub signed, and nothing else:

    - a push: the ancestor's summary on ``github.com/repo/OWNER/NAME/branch/REF``
    - what is about a repository: the delivery, whole, on ``github.com/repo/OWNER/NAME``
    - what is about an account only: the same on ``github.com/org/LOGIN``, of an enterprise on ``.../enterprise/SLUG``
    """

    name = "github"
    topics: Sequence[str] = ("/unsafe/github.com/",)

    def __init__(
        self,
        secrets: Sequence[Secret],
        events: Sequence[str] = (),
        tags: bool = True,
        deleted_refs: bool = True,
        host: str = "github.com",
    ) -> None:
        """`events`: only these, by their ``X-GitHub-Event``. `tags`, `deleted_refs`: whether pushes of tags, and
        pushes that delete (their SHA is all zeros), have a summary. `host`: of a GitHub Enterprise Server.
        """
        if not secrets:
            raise ConfigError("it needs a secret, the one in GitHub's webhook form")
        self._provider = load_provider("github")
        for secret in secrets:
            self._provider.check(secret)
        self.topics = (f"/unsafe/{host}/",)
        self._secrets = secrets
        self._events = frozenset(events)
        self._tags = tags
        self._deleted_refs = deleted_refs
        self._host = host

    async def route(self, message: Message, publish: Publish) -> None:
        """Publish one delivery where it belongs; a forged one is dropped, with a warning."""
        try:
            self._verify(message)
        except BadSignature as error:
            delivery = message.header("x-github-delivery")
            logger.warning("dropped delivery %.80r (message %s): %s", delivery, message.id, error)
            return
        event = message.header("x-github-event") or ""
        if self._events and event not in self._events:
            return
        payload = _payload(message)
        topic = _topic(payload)
        if not topic:
            logger.info("nowhere to publish %s: %r is about no repository and no account", message.id, event)
            return
        if event == "push" and self._wants_summary(payload):
            await publish(
                f"{self._host}/{topic}/branch/{payload['ref'].removeprefix('refs/heads/')}",
                _summary(payload),
                headers=_JSON,
            )
        await publish(f"{self._host}/{topic}", message, wrapped=True)

    def _wants_summary(self, push: dict[str, Any]) -> bool:
        if push["ref"].startswith("refs/tags/") and not self._tags:
            return False
        return self._deleted_refs or not push.get("deleted")

    def _verify(self, message: Message) -> None:
        if message.verified and message.verified.provider == "github":
            return  # the hub has done it, before it took the message
        self._provider.verify(SignedRequest(message.body, message.headers), self._secrets, now=message.time_us / 1e6)


def _payload(message: Message) -> dict[str, Any]:
    payload = parse_body(message)
    if not isinstance(payload, dict):
        raise ValueError(f"a delivery is a JSON object, not {type(payload).__name__}")
    return payload


def _topic(payload: dict[str, Any]) -> str:
    """The topic of what a delivery is about, without the host; empty if it is about nothing that has one."""
    if repository := payload.get("repository"):
        return f"repo/{_name(repository['full_name'])}"
    if organization := payload.get("organization"):
        return f"org/{_name(organization['login'])}"
    if account := (payload.get("installation") or {}).get("account"):
        return f"org/{_name(account['login'])}"
    if enterprise := payload.get("enterprise"):
        return f"enterprise/{_name(enterprise['slug'])}"
    return ""


def _name(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"not a name: {value!r:.80}")
    return value


def _summary(push: dict[str, Any]) -> bytes:
    """The ancestor's summary of a push, byte for byte."""
    return encode_go_json(
        {
            "Type": "push",
            "Repo": push["repository"]["full_name"],
            "Branch": push["ref"].removeprefix("refs/heads/"),
            "SHA": push["after"],
            "Who": "<unknown>" if push.get("pusher") is None else push["pusher"].get("name") or "",
        }
    ).encode()
