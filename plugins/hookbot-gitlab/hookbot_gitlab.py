"""One GitLab webhook, of a group or of a whole instance, rebroadcast as a topic for each project and branch."""

import logging
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from hookbot import Message, Publish

logger = logging.getLogger(__name__)


class GitLabRouter:
    """Rebroadcasts one GitLab webhook as a topic for each project, branch and group.

    Passes deliveries on whole:

    - to ``gitlab.com/project/PATH`` what is about a project
    - to ``gitlab.com/project/PATH/branch/REF`` a push, too (a tag keeps ``refs/tags/``)
    - to ``gitlab.com/group/PATH`` what is about a group only
    """

    name = "gitlab"
    topics: Sequence[str] = ("/unsafe/gitlab.com/", "gitlab/")

    def __init__(self, host: str = "gitlab.com") -> None:
        """`host`: of an instance of one's own; it stands in the topics in place of ``gitlab.com``."""
        self.topics = (f"/unsafe/{host}/", "gitlab/")
        self.host = host

    async def route(self, message: Message, publish: Publish) -> None:
        """Publish one delivery where it belongs; one that nobody has verified is dropped, with a warning."""
        if not is_genuine(message):
            logger.warning("dropped %s: no source of this hub has verified it as GitLab's", message.id)
            return
        payload = message.json()
        topic = topic_of(payload)
        if topic is None:
            logger.info("nowhere to publish %s: it is about no project and no group", message.id)
            return
        if payload.get("object_kind") in ("push", "tag_push"):
            ref = payload["ref"].removeprefix("refs/heads/")
            await publish(f"{self.host}/{topic}/branch/{ref}", message)
        await publish(f"{self.host}/{topic}", message)


def is_genuine(message: Message) -> bool:
    """Whether the hub has seen GitLab's secret, or the sender had a token for a topic that needs one."""
    if message.topic.startswith("/unsafe/"):
        return message.verified is not None and message.verified.provider == "gitlab"
    return True


def topic_of(payload: dict[str, Any]) -> str | None:
    """The topic of what a delivery is about, without the host."""
    if path := project_of(payload):
        return f"project/{path}"
    if path := group_of(payload):
        return f"group/{path}"
    return None


def project_of(payload: dict[str, Any]) -> str | None:
    """The path of the project; job events of older versions only have its address."""
    if project := payload.get("project"):
        path: str | None = project.get("path_with_namespace")
        return path
    if payload.get("path_with_namespace"):
        return str(payload["path_with_namespace"])
    homepage = (payload.get("repository") or {}).get("homepage")
    return urlsplit(homepage).path.strip("/") if homepage else None


def group_of(payload: dict[str, Any]) -> str | None:
    """The path of the group; member events only have its last part."""
    group = payload.get("group") or payload
    path: str | None = group.get("full_path") or group.get("group_path")
    return path
