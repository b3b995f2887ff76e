"""Data directories of earlier versions: today's hub opens each of them, and nothing in it is lost."""

import json
import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from hookbot.access.tokens import make_token
from support.commands import running, starting
from support.hubs import HubProcess

pytestmark = pytest.mark.slow

KEPT = Path(__file__).parents[1] / "data_directories"
FOREVER = ("--keep", "36500d", "--dedup-window", "36500d")
ALL = ("--since", "all", "--no-follow")
ORDERS = "/sub/orders/"


class EarlierHub:
    """Today's hub in a copy of a data directory of an earlier one."""

    def __init__(self, kept: Path, directory: Path, hub: HubProcess) -> None:
        self.messages = [json.loads(line) for line in (kept / "messages.jsonl").read_text().splitlines()]
        self.key = (kept / "key").read_text().strip()
        self._directory = directory
        self._hub = hub

    def url(self, path: str) -> str:
        return f"http://{make_token(self.key, path)}@127.0.0.1:{self._hub.port}{path}"

    def ids(self, topic: str) -> list[str]:
        return [message["id"] for message in self.messages if message["topic"].startswith(topic)]

    async def listen(self, path: str, *options: str) -> list[Any]:
        """The messages that `hookbot listen` prints until it ends."""
        async with running("listen", "--json", "--quiet", *options, self.url(path)) as listen:
            assert await listen.ended() == 0, listen.err
            return [json.loads(line) for line in listen.out.splitlines()]

    async def publish(self, path: str, *options: str, body: str = "") -> str:
        """The id that `hookbot publish` prints."""
        (file := self._directory / "body").write_text(body)
        async with running("publish", *options, self.url(path), file) as publish:
            assert await publish.ended() == 0, publish.err
            return publish.out.decode().strip()


@pytest.fixture(params=sorted(path.name for path in KEPT.iterdir() if path.is_dir()))
async def earlier(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[EarlierHub]:
    kept = KEPT / request.param
    shutil.copytree(kept, tmp_path, dirs_exist_ok=True)
    async with starting() as start:
        hub = HubProcess(start, tmp_path, *FOREVER, "--router", "github", key=None)
        await hub.start()
        yield EarlierHub(kept, tmp_path, hub)
        assert await hub.stop() == 0, hub.process.err


async def test_every_message_is_read_as_it_was(earlier: EarlierHub) -> None:
    safe = await earlier.listen("/sub/", *ALL)
    unsafe = await earlier.listen("/unsafe/sub/", *ALL, "--unsafe")

    assert safe + unsafe == earlier.messages


async def test_cursors_and_groups_go_on_where_they_were(earlier: EarlierHub) -> None:
    orders = earlier.ids("orders/")

    books = await earlier.listen(ORDERS, "--cursor", "books", "--no-follow")
    ledger = await earlier.listen(ORDERS, "--cursor", "ledger", "--no-follow")
    workers = await earlier.listen(ORDERS, "--group", "workers", "--limit", "4")

    assert [message["id"] for message in books] == orders[3:]
    assert ledger == []
    assert [message["id"] for message in workers] == orders[2:]


async def test_an_idempotency_key_is_remembered(earlier: EarlierHub) -> None:
    assert await earlier.publish("/pub/orders/eu", "--key", "order-7", body="paid") == earlier.ids("orders/")[3]


async def test_the_log_goes_on_and_nothing_is_routed_again(earlier: EarlierHub) -> None:
    epoch, number = max(earlier.ids("")).split("-")

    assert await earlier.publish("/pub/orders/eu") == f"{epoch}-{int(number) + 1:015}"


async def test_tokens_of_an_earlier_key_are_still_good(earlier: EarlierHub, tmp_path: Path) -> None:
    earlier.key = (tmp_path / "old-keys").read_text().strip()

    assert re.fullmatch(r"[a-z]{8}-\d{15}", await earlier.publish("/pub/orders/eu"))
