import pytest
from hookbot_example import JiraRouter

from hookbot.testing import open_test_hub, route

BODY = b'{"webhookEvent": "jira:issue_created", "issue": {"fields": {"project": {"key": "OPS"}}}}'


async def test_an_issue_goes_to_its_project() -> None:
    assert await route(JiraRouter(), "jira/cloud", BODY) == [("jira-project/OPS", BODY)]


async def test_a_project_can_be_ignored() -> None:
    assert await route(JiraRouter(ignore="TEST OPS"), "jira/cloud", BODY) == []


ELSEWHERE = [
    (b'{"webhookEvent": "project_updated", "project": {"id": 1, "key": "OPS"}}', "jira-project/OPS"),
    (b'{"webhookEvent": "comment_created", "comment": {"body": "hello"}}', "jira-event/comment_created"),
    (b'{"webhookEvent": "comment_deleted", "issue": null}', "jira-event/comment_deleted"),
    (b'{"webhookEvent": "comment_updated", "issue": {"fields": {"project": null}}}', "jira-event/comment_updated"),
    (b'{"webhookEvent": "worklog_created", "worklog": {"issueId": "1"}}', "jira-event/worklog_created"),
    (b'{"webhookEvent": "sprint_started", "sprint": {"id": 1}}', "jira-event/sprint_started"),
    (b'{"webhookEvent": "jira:version_released", "version": []}', "jira-event/jira:version_released"),
    (b'{"webhookEvent": "user_created", "issue": [], "project": "OPS"}', "jira-event/user_created"),
]


@pytest.mark.parametrize(("body", "topic"), ELSEWHERE)
async def test_what_is_about_no_issue_goes_to_its_project_or_event(body: bytes, topic: str) -> None:
    assert await route(JiraRouter(), "jira/cloud", body) == [(topic, body)]


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"null", b"no JSON", b'{"webhookEvent": 5}', b"\xff"])
async def test_what_is_not_jiras_is_an_error_in_a_sentence(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"Expecting value|neither a project nor an event|can't decode"):
        await route(JiraRouter(), "jira/cloud", body)


async def test_it_runs_in_a_hub() -> None:
    async with open_test_hub(JiraRouter()) as hub:
        await hub.publish("jira/cloud", BODY)
        [message] = await hub.wait_for("jira-project/OPS")
    assert message.body == BODY
