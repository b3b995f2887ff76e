"""A router that rebroadcasts one Jira webhook as a topic for each project."""

from hookbot import Message, Publish


class JiraRouter:
    """Rebroadcasts one Jira webhook as a topic for each project: ``jira-project/KEY``.

    A delivery that names no project, such as one about a user, goes to ``jira-event/EVENT``.
    """

    name = "jira"
    topics = ("jira/",)

    def __init__(self, ignore: str = "") -> None:
        """`ignore`: keys of projects to drop, separated by spaces."""
        self.ignore = set(ignore.split())

    async def route(self, message: Message, publish: Publish) -> None:
        """Publish one delivery on the topic of its project, or else of its event.

        Raises `ValueError` if it is not JSON, or has neither: the hub then publishes it to ``hookbot/failed/jira``.
        """
        match message.json():
            case {"issue": {"fields": {"project": {"key": str(project)}}}} | {"project": {"key": str(project)}}:
                if project not in self.ignore:
                    await publish(f"jira-project/{project}", message)
            case {"webhookEvent": str(event)}:
                await publish(f"jira-event/{event}", message)
            case _:
                raise ValueError("neither a project nor an event of Jira's is in it")
