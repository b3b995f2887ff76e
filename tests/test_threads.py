"""Threads of the hub, of which Trio's own are none."""

import ast
from pathlib import Path

import pytest
import trio

import hookbot
from hookbot.threads import SLICE_S, ThreadLimiter, ThreadSlices, hub_threads


def test_each_run_of_trio_has_one_limiter_of_the_kind() -> None:
    kind = ThreadLimiter("kind", 3)

    async def limiters() -> list[trio.CapacityLimiter]:
        return [kind(), kind()]

    (first, same), (second, _) = trio.run(limiters), trio.run(limiters)

    assert first is same
    assert first is not second
    assert first.total_tokens == 3


async def test_the_hub_has_threads_when_routers_have_used_up_those_of_trio() -> None:
    routers = trio.to_thread.current_default_thread_limiter()
    for number in range(int(routers.total_tokens)):
        routers.acquire_on_behalf_of_nowait(number)

    assert await trio.to_thread.run_sync(lambda: "done", limiter=hub_threads()) == "done"


@pytest.mark.parametrize("package", ["access", "broker", "hub", "log", "web"])
def test_no_part_of_the_hub_uses_the_threads_of_trio(package: str) -> None:
    for path in (Path(hookbot.__file__).parent / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "trio.to_thread.run_sync":
                assert "limiter" in {keyword.arg for keyword in node.keywords}, f"{path.name}:{node.lineno}"


def test_a_thread_rests_after_each_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [0.0]
    rests: list[float] = []
    monkeypatch.setattr("hookbot.threads.perf_counter", lambda: now_s[0])
    monkeypatch.setattr("hookbot.threads.sleep", rests.append)
    slices = ThreadSlices()

    for passed_s in (SLICE_S / 2, SLICE_S, SLICE_S / 2, SLICE_S):
        now_s[0] += passed_s
        slices.rest_if_over()

    assert rests == [SLICE_S, SLICE_S]
