"""Health checks and metrics, over real sockets."""

from pathlib import Path

from support.api import operated_hub


async def test_metrics_count_what_was_published_and_refused(tmp_path: Path) -> None:
    async with operated_hub(tmp_path) as (_, client):
        await client.post("/pub/a", content=b"12345")
        await client.post("/pub/a", content=b"", headers={"Authorization": ""})
        await client.put("/pub/a")

        metrics = (await client.get("/metrics")).text.splitlines()

    assert {
        "hookbot_published_total 1.0",
        "hookbot_published_bytes_total 5.0",
        'hookbot_refused_total{status="401"} 1.0',
        'hookbot_refused_total{status="405"} 1.0',
        'hookbot_router_lag{router="github"} 0.0',
    } <= set(metrics)


async def test_health_needs_no_token(tmp_path: Path) -> None:
    async with operated_hub(tmp_path) as (_, client):
        answers = [await client.get(path, headers={"Authorization": ""}) for path in ("/status", "/healthz", "/readyz")]

    assert [(answer.status_code, answer.text) for answer in answers] == [(200, "OK\n"), (200, "ok\n"), (200, "ok\n")]
