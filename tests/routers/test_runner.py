"""All routers of a hub: named, configured, and run together."""

import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from hookbot.broker.broker import Broker, open_broker
from hookbot.errors import ConfigError
from hookbot.log.sqlite import open_sqlite_log
from hookbot.protocol.message import Draft
from hookbot.routers.attempts import RouterLimits
from hookbot.routers.runner import RouterSpec, open_routers
from support.clock import pass_time
from support.damage import root, spoil
from support.misbehaving_routers import Copy


def resolve(text: str) -> str:
    return text


def test_a_section_of_the_configuration_says_which_router_and_with_which_limits() -> None:
    spec = RouterSpec.parse("ghes", {"router": "github", "time_limit": 5, "max_publishes": 10, "host": "git.acme"})
    assert spec == RouterSpec("ghes", "github", {"host": "git.acme"}, RouterLimits(5.0, 10))


def test_a_router_in_a_file_is_called_like_the_file() -> None:
    assert RouterSpec.parse("./routers/jira.py:Jira", {}) == RouterSpec("jira", "./routers/jira.py:Jira")


BAD_SECTIONS = [
    ("a/b", {}, r"not a name for a router \(letters"),
    ("x", {"router": 1}, r"\[routers.x\]: router is the name of an installed router or a file, not 1"),
    ("x", {"time_limit": "long"}, r"\[routers.x\]: the option 'time_limit' must be a number, not 'long'"),
    ("x", {"max_publishes": 0}, r"\[routers.x\]: max_publishes must be greater than 0, not 0"),
]


@pytest.mark.parametrize(("name", "section", "error"), BAD_SECTIONS)
def test_a_section_that_makes_no_sense_is_an_error(name: str, section: dict[str, Any], error: str) -> None:
    with pytest.raises(ConfigError, match=error):
        RouterSpec.parse(name, section)


async def test_a_hub_does_not_start_with_a_router_that_is_not_configured_rightly(broker: Broker) -> None:
    for spec, error in [
        (RouterSpec("gihub", "gihub"), "router gihub: no router 'gihub' is installed"),
        (RouterSpec("github", "github", {"sekrets": []}), "router github: there is no option 'sekrets'; did you mean"),
        (RouterSpec("github", "github", {"secrets": []}), "router github: secrets is empty"),
    ]:
        with pytest.raises(ConfigError, match=error):
            async with open_routers(broker, [spec], resolve):
                pass


async def test_two_routers_cannot_have_one_name(broker: Broker, file: Path) -> None:
    spec = RouterSpec("jira", str(file))
    with pytest.raises(ConfigError, match="two routers have the same name: jira"):
        async with open_routers(broker, [spec, spec], resolve):
            pass


async def test_one_router_runs_under_several_names_with_options_of_their_own(hub: Any, file: Path) -> None:
    specs = [RouterSpec(name, str(file), {"ignore": name}) for name in ("one", "two")]
    async with open_routers(hub.broker, specs, resolve) as routers:
        await hub.publish("jira/x")
        copies = await hub.wait_for("copy", 2)
    assert {copy.hops for copy in copies} == {("one",), ("two",)}
    assert [state["name"] for state in routers.snapshot()] == ["one", "two"]


@pytest.mark.parametrize("crash", ["raise RuntimeError('at import')", "import sys; sys.exit(3)", "this is no python"])
async def test_a_router_that_crashes_at_import_is_named_and_the_hub_lives(
    hub: Any, file: Path, caplog: pytest.LogCaptureFixture, crash: str
) -> None:
    good = file.with_name("good.py")
    works = file.read_text()
    good.write_text(works)
    file.write_text(crash)
    specs = [RouterSpec("bad", str(file)), RouterSpec("good", str(good))]

    async with open_routers(hub.broker, specs, resolve) as routers:
        await hub.publish("jira/x")
        [copy] = await hub.wait_for("copy")
        # It is imported in a thread, which a mock clock could not see.
        while (bad := routers.snapshot()[0])["state"] == "starting":
            await trio.lowlevel.checkpoint()
        assert routers.problem == "a router is not running"
        file.write_text(works)
        [_, second] = await hub.wait_for("copy", 2)

    assert (copy.hops, second.hops) == (("good",), ("bad",))
    assert bad["state"] == "waiting for restart"
    assert bad["error"]
    assert "router bad cannot be created" in caplog.text


async def test_an_import_that_never_ends_holds_up_only_its_router(
    hub: Any, file: Path, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    gone_on = threading.Event()
    endless = file.with_name("endless.py")
    endless.write_text("import gate_of_the_test\ngate_of_the_test.wait()\n" + file.read_text())
    sys.modules["gate_of_the_test"] = gone_on  # type: ignore[assignment]
    good: Any = Copy
    specs = [RouterSpec("bad", str(endless)), RouterSpec("good", good)]

    try:
        async with open_routers(hub.broker, specs, resolve) as routers:
            await hub.publish("in/1", b"x")
            [copy] = await hub.wait_for("copy")
            await pass_time(100)
            [bad, _] = routers.snapshot()
    finally:
        gone_on.set()
        del sys.modules["gate_of_the_test"]

    assert copy.body == b"x"
    assert "router bad cannot be created, trying again: TimeoutError: it is not there after 30 s" in caplog.text
    assert bad["hanging"] > 0
    assert bad["abandoned"] == bad["hanging"]


async def test_a_new_router_begins_at_the_head_and_an_old_one_where_it_was(hub: Any) -> None:
    await hub.publish("in/1", b"before")
    async with hub.run(copy=Copy()):
        await hub.publish("in/1", b"first")
        await hub.wait_for("copy")
    await hub.publish("in/1", b"meanwhile")
    async with hub.run(copy=Copy()):
        copies = await hub.wait_for("copy", 2)

    assert [copy.body for copy in copies] == [b"first", b"meanwhile"]


async def test_the_place_of_a_new_router_is_saved_before_anything_can_be_published(hub: Any) -> None:
    await hub.publish("in/1", b"before")
    async with hub.run(copy=Copy()):
        [cursor] = await hub.broker.log.cursors("router/")

    assert (cursor.name, cursor.position) == ("router/copy", 1)


async def test_a_hub_without_routers_is_ready(broker: Broker) -> None:
    async with open_routers(broker, [], resolve) as routers:
        assert routers.problem == ""
        assert routers.snapshot() == []


async def test_no_router_runs_from_a_position_that_is_damaged(tmp_path: Path, file: Path) -> None:
    async with open_sqlite_log(tmp_path) as log:
        await log.append([Draft("a")], cursors={"router/jira": 1})
    spoil(tmp_path, root(tmp_path, "cursor"))

    async with open_sqlite_log(tmp_path) as log, open_broker(log) as broker:
        async with open_routers(broker, [RouterSpec("jira", str(file))], resolve) as routers:
            assert routers.problem == "a router is not running"
        async with open_routers(broker, [], resolve) as none:
            assert none.problem == ""
        await broker.publish(Draft("a"))
