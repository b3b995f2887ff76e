"""How the hub, its routers and other hubs are."""

from pathlib import Path

from hookbot.access.tokens import make_token
from hookbot.log.postgres_address import PostgresAddress
from hookbot.protocol.message import Draft, format_id
from support import KEY
from support.api import bearer, open_api, operated_hub
from support.clients import WebSocket
from support.hubs import open_whole_hub
from support.postgres import PostgresServer, new_schema


async def test_the_routers_tell_how_they_are(tmp_path: Path) -> None:
    async with operated_hub(tmp_path) as (_, client):
        [router] = (await client.get("/hookbot/v1/routers")).json()["routers"]

    assert (router["name"], router["state"], router["lag"]) == ("github", "running", 0)


async def test_what_the_hub_does_is_counted_for_operators(tmp_path: Path) -> None:
    async with open_api(tmp_path) as hub:
        async with hub.listen("/sub/a", "raw") as listener:
            assert isinstance(listener, WebSocket)
            for key in ("1", "1", "2"):
                await hub.post("/pub/a", b"hello", [("Idempotency-Key", key)], make_token(KEY, "/pub/a"))
            await listener.take()
            await listener.take()
            await hub.post("/pub/a", token="wrong")
            stats, again = [(await hub.http.get("/hookbot/v1/stats")).json() for _ in range(2)]
        refused = await hub.http.get("/hookbot/v1/stats", headers=bearer("/sub/"))

    assert refused.status_code == 403
    assert stats["hub"] == again["hub"] != ""
    assert stats["commits"] == 3
    assert stats["commit_s"] > 0
    counted = {name: stats[name] for name in ("published", "published_bytes", "duplicates", "delivered", "refused")}
    assert counted == {"published": 2, "published_bytes": 10, "duplicates": 1, "delivered": 2, "refused": 1}
    assert (stats["subscribers"], stats["head"][-1]) == (1, "2")


async def test_the_hubs_of_a_shared_store_are_listed(tmp_path: Path, postgres: PostgresServer) -> None:
    client = {"headers": {"Authorization": f"Bearer {make_token(KEY, '/')}"}}
    store = PostgresAddress.parse(f"{postgres.url}?schema={new_schema()}")
    async with open_whole_hub(tmp_path, store=store, client=client, advertise="http://10.0.0.5:8080") as whole:
        await whole.running.broker.publish(Draft("a", b"1"))

        found = (await whole.http.get("/hookbot/v1/hubs")).json()

    assert found["head"] == format_id(whole.running.broker.log.epoch, 1)
    assert [hub["url"] for hub in found["hubs"]] == ["http://10.0.0.5:8080"]


async def test_a_hub_that_shares_no_store_lists_none(tmp_path: Path) -> None:
    async with operated_hub(tmp_path) as (_, client):
        assert (await client.get("/hookbot/v1/hubs")).json()["hubs"] == []
