from pathlib import Path

import pytest

from hookbot.protocol.message import Message, Once
from hookbot.protocol.replies import Answer, Reply
from support.api import asked, bearer, open_api, publish


async def test_the_relations_of_a_message_are_found(tmp_path: Path) -> None:
    async with open_api(tmp_path) as hub:
        once = (Once("single use", "a", "key", exclusive=False),)
        first = await publish(hub, "a", 1, once=once)
        routed = await publish(hub, "b", 1, routed_from=first.id)
        replay = await publish(hub, "a", 1, replay_of=first.id)
        duplicate = await publish(hub, "a", 1, once=once)
        await publish(hub, "c", 1, routed_from=routed.id)

        of_first = await asked(hub, f"messages/{first.id}/related")
        of_routed = await asked(hub, f"messages/{routed.id}/related")
        of_replay = await asked(hub, f"messages/{replay.id}/related")
        of_duplicate = await asked(hub, f"messages/{duplicate.id}/related")

    found = {name: [one["id"] for one in of_first[name]] for name in ("routed", "replays", "duplicates")}
    assert found == {"routed": [routed.id], "replays": [replay.id], "duplicates": [duplicate.id]}
    assert (of_first["origin"], of_first["duplicate_of"]) == (None, None)
    assert (of_routed["origin"]["id"], [one["topic"] for one in of_routed["routed"]]) == (first.id, ["c"])
    assert (of_replay["origin"]["id"], of_duplicate["duplicate_of"]["id"]) == (first.id, first.id)
    assert of_first["searched_to"].endswith("5")


async def test_related_messages_that_the_token_does_not_show_are_left_out(tmp_path: Path) -> None:
    async with open_api(tmp_path) as hub:
        first = await publish(hub, "other/a", 1)
        own = await publish(hub, "acme/a", 1, routed_from=first.id)
        shown = await publish(hub, "acme/b", 1, routed_from=own.id)
        await publish(hub, "other/b", 1, routed_from=own.id)

        related = await asked(hub, f"messages/{own.id}/related", bearer("/sub/acme/"))

    assert related["origin"] is None
    assert [one["id"] for one in related["routed"]] == [shown.id]


async def test_a_message_that_is_gone_is_no_origin(tmp_path: Path) -> None:
    async with open_api(tmp_path) as hub:
        message = await publish(hub, "a", 1, routed_from="otherlog-000000000000001")

        assert (await asked(hub, f"messages/{message.id}/related"))["origin"] is None


async def test_the_answer_to_a_message_is_apart(tmp_path: Path) -> None:
    async with open_api(tmp_path) as hub:
        message = await publish(hub, "/unsafe/acme/a", 1)
        draft = Answer(message.id, "/unsafe/acme/a", Reply(404, (("Content-Type", "text/plain"),), b"no")).draft
        answer = await hub.running.broker.publish(draft)
        other = await publish(hub, "/unsafe/acme/a", 2)

        token = bearer("/unsafe/sub/acme/")
        related = await asked(hub, f"messages/{message.id}/related", token)
        of_answer = await asked(hub, f"messages/{answer.id}/related", token)
        of_other = await asked(hub, f"messages/{other.id}/related", token)

    assert isinstance(answer, Message)
    assert (related["answer"]["id"], related["routed"]) == (answer.id, [])
    assert related["answer"]["reply"] == {"id": message.id, "topic": "/unsafe/acme/a", "status": 404}
    assert related["answer"]["verdict"] == "token"
    assert (of_answer["origin"]["id"], of_answer["answer"], of_other["answer"]) == (message.id, None, None)


async def test_an_answer_is_for_those_who_see_the_topic_of_its_message(tmp_path: Path) -> None:
    async with open_api(tmp_path) as hub:
        message = await publish(hub, "acme/a", 1)
        answer = await hub.running.broker.publish(Answer(message.id, "acme/a", Reply()).draft)

        assert isinstance(answer, Message)
        own = await asked(hub, "messages", bearer("/sub/acme/"))
        with pytest.raises(AssertionError):
            await asked(hub, f"messages/{answer.id}", bearer("/sub/other/"))

    assert [one["id"] for one in own["messages"]] == [answer.id, message.id]
