"""A hub for tests routes like any hub."""

import httpx

from hookbot.testing import open_test_hub

BODY = b'{"issue": {"fields": {"project": {"key": "OPS"}}}}'


class JiraRouter:
    name = "jira"
    topics = ("jira/",)

    async def route(self, message, publish):
        project = message.json()["issue"]["fields"]["project"]["key"]
        await publish(f"jira-project/{project}", message.body)


async def test_a_test_hub_routes_what_is_posted_to_it():
    async with open_test_hub(JiraRouter()) as hub, httpx.AsyncClient() as client:
        answer = await client.post(hub.url_for("/pub/jira/cloud"), content=BODY)
        [message] = await hub.wait_for("jira-project/OPS")

    assert answer.status_code == 200
    assert (message.body, message.hops) == (BODY, ("jira",))


async def test_a_test_hub_supervises_like_any_hub():
    async with open_test_hub(JiraRouter()) as hub:
        await hub.publish("jira/cloud", b"{}")
        [failed] = await hub.wait_for("hookbot/failed/jira")

    assert failed.header("Hookbot-Failed-Error") == "KeyError: 'issue'"
