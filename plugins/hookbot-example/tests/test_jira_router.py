import pytest
from hookbot_example import JiraRouter

from hookbot.testing import open_test_hub, route

BODY = b'{"webhookEvent": "jira:issue_created", "issue": {"fields": {"project": {"key": "OPS"}}}}'


async def test_an_issue_goes_to_its_project() -> None:
    assert await route(JiraRouter(), "jira/cloud", BODY) == [("jira-project/OPS", BODY)]


async def test_a_project_can_be_ignored() -> None:
    assert await route(JiraRouter(ignore="TEST OPS"), "jira/cloud", BODY) == []


async def test_what_is_about_no_issue_is_an_error() -> None:
    with pytest.raises(KeyError):
        await route(JiraRouter(), "jira/cloud", b"{}")


async def test_it_runs_in_a_hub() -> None:
    async with open_test_hub(JiraRouter()) as hub:
        await hub.publish("jira/cloud", BODY)
        [message] = await hub.wait_for("jira-project/OPS")
    assert message.body == BODY
