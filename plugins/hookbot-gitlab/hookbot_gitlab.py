"""A router that rebroadcasts one GitLab webhook, of a group or an instance, as a topic for each project and branch."""

import logging
from collections.abc import Sequence

import trio

from hookbot import Message, Publish
from hookbot.signatures import load_provider
from hookbot.signatures.owners import GitLabOwnership, Name

GITLAB = load_provider("gitlab")
OWNERSHIP = GitLabOwnership()

logger = logging.getLogger(__name__)


class GitLabRouter:
    """Rebroadcasts one GitLab webhook as a topic for each project, branch and group.

    Publishes each delivery unchanged:

    - about a project: to ``gitlab.com/project/PATH``
    - a push: also to ``gitlab.com/project/PATH/branch/REF`` (a tag keeps ``refs/tags/``)
    - about a group only: to ``gitlab.com/group/PATH``
    - about neither, such as a user: to ``gitlab.com/event/EVENT``
    """

    name = "gitlab"
    topics: Sequence[str] = ("/unsafe/gitlab.com/", "gitlab/")

    def __init__(self, host: str = "gitlab.com") -> None:
        """`host`: host name of a self-managed instance; it replaces ``gitlab.com`` in the topics."""
        self.topics = (f"/unsafe/{host}/", "gitlab/")
        self.host = host

    async def route(self, message: Message, publish: Publish) -> None:
        """Publish one delivery to its topics; an unverified one from an unsafe topic is dropped, with a warning.

        Raises `ValueError` for one that is of no known shape, or names no project, no group and no event.
        """
        if not is_genuine(message):
            logger.warning("dropped %s: not verified as GitLab's; add a source for %s", message.id, message.topic)
            return
        # In a thread, since parsing megabytes would hold up the hub.
        payload = await trio.to_thread.run_sync(message.json)
        name = next(OWNERSHIP.names(payload), None)
        # Deliveries of a system hook have one or the other.
        event = payload.get("object_kind") or payload.get("event_name")
        if name is None:
            if not isinstance(event, str) or not event:
                raise ValueError("the delivery names no project, no group and no event")
            name = Name("event", event)
        topic = f"{self.host}/{name.kind}/{name.path}"
        ref = payload.get("ref")
        if name.kind == "project" and event in ("push", "tag_push") and isinstance(ref, str):
            await publish(f"{topic}/branch/{ref.removeprefix('refs/heads/')}", message)
        await publish(topic, message)


def is_genuine(message: Message) -> bool:
    """True if the hub has verified GitLab's secret, or the topic needs a token, which the sender then had."""
    return GITLAB.vouches_for(message) or not message.topic.startswith("/unsafe/")
