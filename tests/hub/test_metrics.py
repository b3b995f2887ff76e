"""Metrics of a hub as it runs."""

import platform
from pathlib import Path

import pytest

from hookbot.access.tokens import make_token
from hookbot.errors import ConfigError
from hookbot.hub.config import Config
from hookbot.hub.secret_store import StoredSecret
from hookbot.version import __version__
from support import KEY
from support.clients import WebSocket, connect
from support.hubs import configured, open_whole_hub
from support.metrics import Shown, scrape, watched_hub


async def test_what_runs_and_how_it_is_configured_is_shown(tmp_path: Path) -> None:
    async with watched_hub(tmp_path) as hub:
        shown = await scrape(hub.http)

    info = f'python="{platform.python_version()}",store="sqlite",version="{__version__}"'
    assert shown[f"hookbot_build_info{{{info}}}"] == 1
    assert shown["hookbot_start_time_seconds"] <= shown["hookbot_certificate_expiry_timestamp_seconds"]
    assert shown["hookbot_disk_used_bytes"] > 0
    assert shown["hookbot_disk_free_bytes"] > 0
    assert shown['hookbot_router_state{router="github",state="running"}'] == 1
    assert shown['hookbot_source_accepted_total{source="/unsafe/github.com/"}'] == 0
    assert shown['hookbot_consumers{kind="cursor"}'] == 0
    assert shown["hookbot_trims"] == 1


async def test_a_hub_in_memory_has_no_disk_and_without_tls_no_certificate(tmp_path: Path) -> None:
    async with open_whole_hub(tmp_path, store="memory:") as hub:
        shown = await scrape(hub.http)

    assert not {"hookbot_disk_used_bytes", "hookbot_certificate_expiry_timestamp_seconds"} & set(shown)
    assert [name for name in shown if "build_info" in name and 'store="memory"' in name]


async def test_reloads_are_counted_and_the_last_failure_is_shown_until_one_succeeds(tmp_path: Path) -> None:
    def wrong() -> Config:
        raise ConfigError("no")

    shown: list[Shown] = []
    async with open_whole_hub(tmp_path) as hub:
        with pytest.raises(ConfigError):
            await hub.running.reload(wrong)
        shown.append(await scrape(hub.http))
        await hub.running.reload(lambda: configured(tmp_path))
        shown.append(await scrape(hub.http))

    assert [one["hookbot_config_last_reload_successful"] for one in shown] == [0, 1]
    assert [one['hookbot_reloads_total{result="failure"}'] for one in shown] == [1, 1]
    assert [one['hookbot_reloads_total{result="success"}'] for one in shown] == [0, 1]
    assert shown[0]["hookbot_config_timestamp_seconds"] < shown[1]["hookbot_config_timestamp_seconds"]


@pytest.mark.parametrize("door", [False, True])
async def test_connections_are_counted_by_who_serves_them(tmp_path: Path, door: bool) -> None:
    async with open_whole_hub(tmp_path, door=door) as hub, await connect(hub.port) as client:
        token = make_token(KEY, "/sub/x")
        listener = WebSocket(client, "/sub/x", headers=[("Authorization", f"Bearer {token}")])
        await listener.ask()
        await listener.accepted()
        shown = await scrape(hub.http)

    # The scrape is one for the app.
    by_kind = {kind: shown.get(f'hookbot_connections{{kind="{kind}"}}') for kind in ("http", "websocket", "app")}
    assert by_kind == ({"http": 0, "websocket": 1, "app": 1} if door else {"http": None, "websocket": None, "app": 2})


async def test_nothing_secret_is_shown(tmp_path: Path) -> None:
    async with open_whole_hub(tmp_path, github_secrets=(StoredSecret("a secret"),)) as hub:
        text = (await hub.http.get("/metrics", headers={"Authorization": f"Bearer {make_token(KEY, '/metrics')}"})).text

    assert KEY not in text
    assert "a secret" not in text
