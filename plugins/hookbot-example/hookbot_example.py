"""A router that rebroadcasts one Jira webhook as a topic for each project."""

from hookbot import Message, Publish


class JiraRouter:
    """Rebroadcasts one Jira webhook as a topic for each project: ``jira-project/KEY``."""

    name = "jira"
    topics = ("jira/",)

    def __init__(self, ignore: str = "") -> None:
        """`ignore`: keys of projects to drop, separated by spaces."""
        self.ignore = set(ignore.split())

    async def route(self, message: Message, publish: Publish) -> None:
        """Publish one delivery on the topic of its project."""
        project = message.json()["issue"]["fields"]["project"]["key"]
        if project not in self.ignore:
            await publish(f"jira-project/{project}", message)
