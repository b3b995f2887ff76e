"""Routers by name or file, and the options that they are made with."""

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Literal

import pytest

from hookbot.errors import ConfigError
from hookbot.protocol.message import Message
from hookbot.routers import Publish, Secret, loading
from hookbot.routers.github import GitHubRouter
from hookbot.routers.loading import bind


def resolve(text: str) -> str:
    if text == "env:MISSING":
        raise ConfigError("the environment has no MISSING")
    return {"env:TOKEN": "s3cret"}.get(text, text)


def test_github_is_installed() -> None:
    assert loading.load("github") is GitHubRouter


def test_an_unknown_router_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"no router 'gihub' is installed; did you mean 'github'\? Known: .*github"):
        loading.load("gihub")


def test_two_packages_with_one_name_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("one", "two"):
        info = tmp_path / f"{package}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Name: {package}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[hookbot.routers]\njira = {package}:Router\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=r"two packages have a router 'jira', (one|two):Router and (one|two):"):
        loading.installed_routers()


def test_a_router_in_a_file_has_options_like_any_other(file: Path) -> None:
    made: Any = loading.make(str(file), {"ignore": "OPS"}, resolve)
    assert made.ignore == "OPS"


def test_of_several_routers_in_a_file_one_has_to_be_named(file: Path) -> None:
    one = file.read_text()
    file.write_text(one + one.replace("Jira", "Other"))
    with pytest.raises(ConfigError, match="defines 2 routers; name the one"):
        loading.make(str(file), {}, resolve)
    assert type(loading.make(f"{file}:Other", {}, resolve)).__name__ == "Other"
    with pytest.raises(ConfigError, match="defines no 'Third'"):
        loading.make(f"{file}:Third", {}, resolve)


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no file"):
        loading.make(str(tmp_path / "none.py"), {}, resolve)


NO_ROUTERS = [
    ("topics = ('jira/',)", "topics = ('jira/')", r"must be a tuple such as \('jira/',\), not 'jira/'"),
    ("topics = ('jira/',)", "topics = ()", "must be a tuple"),
    ("topics = ('jira/',)", "topics = ('a//b',)", "its `topics` are wrong: invalid topic 'a//b': it has an empty"),
    ("topics = ('jira/',)", "topics = (1,)", "its `topics` must be strings, not 1"),
    (
        "async def route(self, message, publish)",
        "def route(self): pass\n    async def other(self, publish, message)",
        "Jira has no `async def route",
    ),
]


@pytest.mark.parametrize(("old", "new", "error"), NO_ROUTERS)
def test_what_is_no_router_is_told_what_it_lacks(file: Path, old: str, new: str, error: str) -> None:
    file.write_text(file.read_text().replace('"', "'").replace(old, new))
    with pytest.raises(ConfigError, match=error):
        loading.make(str(file), {}, resolve)


# -- options


def router(
    host: str,
    port: int = 1,
    ratio: float = 0.5,
    strict: bool = False,
    events: Sequence[str] = (),
    names: set[str] | None = None,
    level: Literal["low", "high"] = "low",
    secret: Secret | None = None,
    secrets: tuple[Secret, ...] = (),
    table: Mapping[str, int] = {},
    rules: list[dict[str, Any]] = [],  # noqa: B006
    anything: Any = None,
) -> None:
    """A router with an option of each type."""


GOOD = [
    ("port", 8080, 8080),
    ("ratio", 1, 1.0),
    ("strict", True, True),
    ("events", ["push"], ("push",)),
    ("names", ["a", "a"], {"a"}),
    ("level", "high", "high"),
    ("secret", "env:TOKEN", "s3cret"),
    ("secrets", ["env:TOKEN", "plain"], ("s3cret", "plain")),
    ("table", {"a": 1}, {"a": 1}),
    ("rules", [{"from": "a/", "keep": [1]}], [{"from": "a/", "keep": [1]}]),
    ("anything", {"a": [1]}, {"a": [1]}),
]


@pytest.mark.parametrize(("name", "given", "wanted"), GOOD)
def test_an_option_becomes_what_its_annotation_says(name: str, given: Any, wanted: Any) -> None:
    bound = bind(router, {"host": "h", name: given}, resolve)[name]
    assert (type(bound), bound) == (type(wanted) if name != "secret" else Secret, wanted)


BAD = [
    ({}, "the option 'host' is missing"),
    ({"host": 1}, "the option 'host' must be a string, not 1"),
    ({"host": "h", "prot": 1}, "there is no option 'prot'; did you mean 'port'? Known: anything, events, host, "),
    ({"host": "h", "zzz": 1}, "there is no option 'zzz'. Known: "),
    ({"host": "h", "port": "80"}, "the option 'port' must be an integer, not '80'"),
    ({"host": "h", "port": True}, "the option 'port' must be an integer, not True"),
    ({"host": "h", "ratio": "x"}, "the option 'ratio' must be a number, not 'x'"),
    ({"host": "h", "strict": 1}, "the option 'strict' must be true or false, not 1"),
    ({"host": "h", "events": "push"}, "the option 'events' must be a list of strings, not 'push'"),
    ({"host": "h", "events": ["push", 1]}, "the option 'events[1]' must be a string, not 1"),
    ({"host": "h", "names": 1}, "the option 'names' must be a list of strings, not 1"),
    ({"host": "h", "level": "mid"}, "the option 'level' must be 'low' or 'high', not 'mid'"),
    ({"host": "h", "table": {"a": "1"}}, "the option 'table.a' must be an integer, not '1'"),
    ({"host": "h", "table": []}, "the option 'table' must be a table, not []"),
    ({"host": "h", "secret": "env:MISSING"}, "the environment has no MISSING"),
    ({"host": "h", "secrets": [12345]}, "the option 'secrets[0]' must be a secret, not an integer"),
    ({"host": "h", "secrets": "hunter2"}, "the option 'secrets' must be a list of secrets, not a string"),
    ({"host": "h", "secrets": [["hunter2"]]}, "the option 'secrets[0]' must be a secret, not a list"),
]


@pytest.mark.parametrize(("options", "error"), BAD)
def test_what_is_wrong_with_an_option_is_said_with_what_would_be_right(options: dict[str, Any], error: str) -> None:
    with pytest.raises(ConfigError) as caught:
        bind(router, options, resolve)
    assert str(caught.value).startswith(error)


def test_an_option_of_another_type_is_called_by_its_name() -> None:
    def make(day: date) -> None:
        """A router of one day."""

    with pytest.raises(ConfigError, match="the option 'day' must be a date, not 'today'"):
        bind(make, {"day": "today"}, resolve)


def test_a_secret_does_not_show_itself() -> None:
    bound = bind(router, {"host": "h", "secrets": ["env:TOKEN"]}, resolve)
    assert "s3cret" not in repr(bound)
    assert bound["secrets"][0].encode() == b"s3cret"


def test_a_secret_that_is_one_already_is_not_looked_up() -> None:
    assert bind(router, {"host": "h", "secret": Secret("env:MISSING")}, resolve)["secret"] == "env:MISSING"


def test_a_class_is_bound_by_its_constructor() -> None:
    class Router:
        def __init__(self, *, port: int = 1) -> None: ...

    assert bind(Router, {"port": 2}, resolve) == {"port": 2}
    with pytest.raises(ConfigError, match="must be an integer"):
        bind(Router, {"port": "2"}, resolve)


def test_a_router_without_options_has_none() -> None:
    class Router: ...

    assert bind(Router, {}, resolve) == {}
    with pytest.raises(ConfigError, match=r"there is no option 'x'\. Known: none"):
        bind(Router, {"x": 2}, resolve)


def test_a_class_needs_no_name() -> None:
    assert loading.load(GitHubRouter) is GitHubRouter


def test_a_router_with_keyword_arguments_of_any_name_takes_any_option() -> None:
    def make(host: str, **others: Any) -> None: ...

    assert bind(make, {"host": "h", "port": 2}, resolve) == {"host": "h", "port": 2}


def test_annotations_for_type_checkers_only_leave_an_option_as_it_is() -> None:
    def make(port: "OnlyForTypeCheckers") -> None: ...  # type: ignore[name-defined]  # noqa: F821

    assert bind(make, {"port": "80"}, resolve) == {"port": "80"}


async def test_a_router_is_entered_if_it_can_be() -> None:
    class Plain:
        name = "plain"
        topics: Sequence[str] = ("in/",)

        async def route(self, message: Message, publish: Publish) -> None: ...

    class Entered(Plain):
        state = "new"

        async def __aenter__(self) -> None:
            self.state = "entered"

        async def __aexit__(self, *failure: Any) -> None:
            self.state = "exited"

    router = Entered()
    async with loading.entered(Plain()), loading.entered(router):
        assert router.state == "entered"
    assert router.state == "exited"
