"""The package of a new router."""

import tomllib
from pathlib import Path

import pytest

from hookbot.cli.new_router import write_new_router
from hookbot.errors import ConfigError
from hookbot.routers.loading import make
from hookbot.testing import route

BODY = b'{"kind": "hello"}'


async def test_a_new_router_has_its_name_everywhere_and_routes(tmp_path: Path) -> None:
    files = write_new_router("my-thing", tmp_path / "new")

    assert [str(file.relative_to(tmp_path / "new")) for file in files] == [
        "pyproject.toml",
        "README.md",
        "hookbot_my_thing.py",
        "tests/test_hookbot_my_thing.py",
    ]
    project = tomllib.loads(files[0].read_text())["project"]
    assert project["entry-points"]["hookbot.routers"] == {"my-thing": "hookbot_my_thing:MyThingRouter"}
    assert not any(word in file.read_text() for file in files for word in ("NAME/", "MODULE", "CLASS"))
    router = make(str(files[2]), {"kinds": ["hello"]}, str)
    assert await route(router, "my-thing/try", BODY) == [("my-thing-kind/hello", BODY)]
    with pytest.raises(ValueError, match="the message has no kind"):
        await route(router, "my-thing/try", b'[{"kind": null}]')


def test_an_empty_directory_will_do_and_another_will_not(tmp_path: Path) -> None:
    write_new_router("my-thing", tmp_path)
    with pytest.raises(ConfigError, match="exists and is not an empty directory"):
        write_new_router("my-thing", tmp_path)
    with pytest.raises(ConfigError, match="exists and is not an empty directory"):
        write_new_router("my-thing", tmp_path / "README.md")


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"file/new/pyproject\.toml cannot be written: "):
        write_new_router("my-thing", tmp_path / "file" / "new")


@pytest.mark.parametrize("name", ["My", "a b", "-a", "a-", "a--b", "a/b", "1a", "ü", ""])
def test_a_name_that_would_make_no_package_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="a router's name has lower-case letters"):
        write_new_router(name, tmp_path / "new")
    assert not (tmp_path / "new").exists()
