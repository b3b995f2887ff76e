"""A router that rebroadcasts one GitLab webhook, of a group or an instance, as a topic for each project and branch."""

import logging
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from hookbot import Message, Publish

logger = logging.getLogger(__name__)


class GitLabRouter:
    """Rebroadcasts one GitLab webhook as a topic for each project, branch and group.

    Publishes each delivery unchanged:

    - about a project: to ``gitlab.com/project/PATH``
    - a push: also to ``gitlab.com/project/PATH/branch/REF`` (a tag keeps ``refs/tags/``)
    - about a group only: to ``gitlab.com/group/PATH``
    """

    name = "gitlab"
    topics: Sequence[str] = ("/unsafe/gitlab.com/", "gitlab/")

    def __init__(self, host: str = "gitlab.com") -> None:
        """`host`: host name of a self-managed instance; it replaces ``gitlab.com`` in the topics."""
        self.topics = (f"/unsafe/{host}/", "gitlab/")
        self.host = host

    async def route(self, message: Message, publish: Publish) -> None:
        """Publish one delivery to its topics; an unverified one from an unsafe topic is dropped, with a warning.

        One that names no project and no group is dropped too.
        """
        if not is_genuine(message):
            logger.warning("dropped %s: not verified as GitLab's; add a source for %s", message.id, message.topic)
            return
        payload = message.json()
        topic = topic_of(payload)
        if topic is None:
            logger.info("dropped %s: it names no project and no group", message.id)
            return
        if payload.get("object_kind") in ("push", "tag_push"):
            ref = payload["ref"].removeprefix("refs/heads/")
            await publish(f"{self.host}/{topic}/branch/{ref}", message)
        await publish(f"{self.host}/{topic}", message)


def is_genuine(message: Message) -> bool:
    """True if the hub has verified GitLab's secret, or the topic needs a token, which the sender then had."""
    if message.topic.startswith("/unsafe/"):
        return message.verified is not None and message.verified.provider == "gitlab"
    return True


def topic_of(payload: dict[str, Any]) -> str | None:
    """Topic of a delivery, without the host; None if it names no project and no group."""
    if path := project_of(payload):
        return f"project/{path}"
    if path := group_of(payload):
        return f"group/{path}"
    return None


def project_of(payload: dict[str, Any]) -> str | None:
    """Path of the project, or None; job events of older versions have only its URL."""
    if project := payload.get("project"):
        path: str | None = project.get("path_with_namespace")
        return path
    if payload.get("path_with_namespace"):
        return str(payload["path_with_namespace"])
    homepage = (payload.get("repository") or {}).get("homepage")
    return urlsplit(homepage).path.strip("/") if homepage else None


def group_of(payload: dict[str, Any]) -> str | None:
    """Path of the group, or None; member events have only the last part of it."""
    group = payload.get("group") or payload
    path: str | None = group.get("full_path") or group.get("group_path")
    return path
