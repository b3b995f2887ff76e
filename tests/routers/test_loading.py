from importlib.metadata import EntryPoint

import pytest
import trio

from hookbot.errors import ConfigError
from hookbot.routers import loading
from hookbot.routers.attempts import RouterLimits
from hookbot.routers.github import GitHubRouter
from hookbot.routers.runner import RouterSpec, open_routers

ONE = """
class Jira:
    name = "jira"
    topics = ("jira/",)
    def __init__(self, ignore: str = "") -> None:
        self.ignore = ignore
    async def route(self, message, publish):
        await publish("copy", message)
"""


def resolve(text):
    return text


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "jira.py"
    path.write_text(ONE)
    return path


def test_github_is_installed():
    assert loading.load("github") is GitHubRouter


def test_an_unknown_router_is_answered_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"no router 'gihub' is installed; did you mean 'github'\? Known: .*github"):
        loading.load("gihub")


def test_two_packages_with_one_name_are_told_apart(monkeypatch):
    entries = [EntryPoint("jira", f"{package}:Router", loading.GROUP) for package in ("one", "two")]
    monkeypatch.setattr(loading, "entry_points", lambda group: entries)
    with pytest.raises(ConfigError, match="two packages have a router 'jira': one:Router and two:Router"):
        loading.installed_routers()


def test_a_router_in_a_file_has_options_like_any_other(file):
    assert loading.make(str(file), {"ignore": "OPS"}, resolve).ignore == "OPS"


def test_of_several_routers_in_a_file_one_has_to_be_named(file):
    file.write_text(ONE + ONE.replace("Jira", "Other"))
    with pytest.raises(ConfigError, match="has 2 routers; say which one"):
        loading.make(str(file), {}, resolve)
    assert type(loading.make(f"{file}:Other", {}, resolve)).__name__ == "Other"
    with pytest.raises(ConfigError, match="has no Third"):
        loading.make(f"{file}:Third", {}, resolve)


def test_a_file_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="there is no file"):
        loading.make(str(tmp_path / "none.py"), {}, resolve)


NO_ROUTERS = [
    ("topics = ('jira/',)", "topics = ('jira/')", r"is a tuple such as \('jira/',\), not 'jira/'"),
    ("topics = ('jira/',)", "topics = ()", "is a tuple"),
    ("topics = ('jira/',)", "topics = ('a//b',)", "its `topics` are wrong: a topic has no empty"),
    ("topics = ('jira/',)", "topics = (1,)", "its `topics` are wrong"),
    (
        "async def route(self, message, publish)",
        "def route(self): pass\n    async def other(self, publish, message)",
        "it has no `async def route",
    ),
]


@pytest.mark.parametrize(("old", "new", "error"), NO_ROUTERS)
def test_what_is_no_router_is_told_what_it_lacks(file, old, new, error):
    file.write_text(ONE.replace('"', "'").replace(old, new))
    with pytest.raises(ConfigError, match=error):
        loading.make(str(file), {}, resolve)


def test_a_section_of_the_configuration_says_which_router_and_with_which_limits():
    spec = RouterSpec.parse("ghes", {"router": "github", "time_limit": 5, "max_publishes": 10, "host": "git.acme"})
    assert spec == RouterSpec("ghes", "github", {"host": "git.acme"}, RouterLimits(5.0, 10))


def test_a_router_in_a_file_is_called_like_the_file():
    assert RouterSpec.parse("./routers/jira.py:Jira", {}) == RouterSpec("jira", "./routers/jira.py:Jira")


BAD_SECTIONS = [
    ("a/b", {}, "a router's name has letters"),
    ("x", {"router": 1}, r"\[routers.x\]: router is the name of one, not 1"),
    ("x", {"time_limit": "long"}, r"\[routers.x\]: the option 'time_limit' is a number, not 'long'"),
    ("x", {"max_publishes": 0}, r"\[routers.x\]: time_limit and max_publishes are greater than 0"),
]


@pytest.mark.parametrize(("name", "section", "error"), BAD_SECTIONS)
def test_a_section_that_makes_no_sense_is_an_error(name, section, error):
    with pytest.raises(ConfigError, match=error):
        RouterSpec.parse(name, section)


async def test_a_hub_does_not_start_with_a_router_that_is_not_configured_rightly(broker):
    for spec, error in [
        (RouterSpec("gihub", "gihub"), "router gihub: no router 'gihub' is installed"),
        (RouterSpec("github", "github", {"sekrets": []}), "router github: there is no option 'sekrets'; did you mean"),
        (RouterSpec("github", "github", {"secrets": []}), "router github: it needs a secret"),
    ]:
        with pytest.raises(ConfigError, match=error):
            async with open_routers(broker, [spec], resolve):
                pass


async def test_two_routers_cannot_have_one_name(broker, file):
    spec = RouterSpec("jira", str(file))
    with pytest.raises(ConfigError, match="two routers have the same name: jira"):
        async with open_routers(broker, [spec, spec], resolve):
            pass


async def test_one_router_runs_under_several_names_with_options_of_their_own(hub, file):
    specs = [RouterSpec(name, str(file), {"ignore": name}) for name in ("one", "two")]
    async with open_routers(hub.broker, specs, resolve) as routers:
        await hub.publish("jira/x")
        copies = await hub.wait_for("copy", 2)
    assert {copy.hops for copy in copies} == {("one",), ("two",)}
    assert [state["name"] for state in routers.snapshot()] == ["one", "two"]


@pytest.mark.parametrize("crash", ["raise RuntimeError('at import')", "import sys; sys.exit(3)", "this is no python"])
async def test_a_router_that_crashes_at_import_is_named_and_the_hub_lives(hub, file, autojump_clock, caplog, crash):
    good = file.with_name("good.py")
    good.write_text(ONE)
    file.write_text(crash)
    specs = [RouterSpec("bad", str(file)), RouterSpec("good", str(good))]

    async with open_routers(hub.broker, specs, resolve) as routers:
        await hub.publish("jira/x")
        [copy] = await hub.wait_for("copy")
        await trio.testing.wait_all_tasks_blocked()
        [bad, _] = routers.snapshot()
        assert not routers.running
        file.write_text(ONE)
        [_, second] = await hub.wait_for("copy", 2)

    assert (copy.hops, second.hops) == (("good",), ("bad",))
    assert bad["state"] == "waiting for restart"
    assert bad["error"]
    assert "router bad cannot be made" in caplog.text
