"""A configuration file, read and sorted, and the line on which something stands."""

from pathlib import Path
from typing import Any

import pytest

from hookbot.errors import ConfigError
from hookbot.hub.config_file import ConfigFile, Mistakes, Table

FILE = """\
# a comment
bind = ":80"
keep-bytes = "1GiB"   # topic = "not a key"
"router" = [
    "github",
]

[[sources]]
topic = "/unsafe/stripe/"
provider = "stripe"
secrets = [
    "env:STRIPE",
]

[[ sources ]]
  provider = "slack"
  topic = "/unsafe/slack/"

[routers.github]
topic = 5
events = ["push"]

[routers."other one"]
events = []
"""


@pytest.fixture
def file(tmp_path: Path) -> ConfigFile:
    path = tmp_path / "hookbot.toml"
    path.write_text(FILE)
    return ConfigFile.read(path)


def line(file: ConfigFile, *args: Any, **options: Any) -> int:
    path, number, reason = str(file.error("wrong", *args, **options)).rsplit(":", 2)
    assert (path, reason) == (str(file.path), " wrong")
    return int(number)


def test_a_file_is_sorted_into_options_sources_and_routers(file: ConfigFile) -> None:
    assert file.options == {"bind": ":80", "keep-bytes": "1GiB", "router": ["github"]}
    assert [source["provider"] for source in file.sources] == ["stripe", "slack"]
    assert file.routers == {"github": {"topic": 5, "events": ["push"]}, "other one": {"events": []}}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_a_file_is_read_in_the_encoding_that_it_was_saved_in(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "hookbot.toml").write_bytes(FILE.replace("\n", "\r\n").encode(encoding))
    read = ConfigFile.read(tmp_path / "hookbot.toml")
    assert read.options["keep-bytes"] == "1GiB"
    assert read.sources[0]["secrets"] == ["env:STRIPE"]


def test_no_file_has_nothing() -> None:
    assert (ConfigFile().options, ConfigFile().sources, ConfigFile().routers) == ({}, (), {})


def test_what_is_wrong_is_told_with_its_line(file: ConfigFile) -> None:
    assert line(file, "bind") == 2
    assert line(file, "keep-bytes") == 3
    assert line(file, "router") == 4
    assert line(file, "topic", "sources", 0) == 9
    assert line(file, "secrets", "sources", 0) == 11
    assert line(file, "topic", "sources", 1) == 17
    assert line(file, "topic", "routers.github") == 20
    assert line(file, "events", "routers.other one") == 24


@pytest.mark.parametrize("header", ['[routers."a.b"]', "[ routers . 'a.b' ]", '[ "routers"."a.b" ] # one'])
def test_a_section_is_found_however_its_header_is_written(tmp_path: Path, header: str) -> None:
    path = tmp_path / "hookbot.toml"
    path.write_text(f"router = []\n{header}\nx = 1\n")
    assert ConfigFile.read(path).place("x", "routers.a.b") == f"{path}:3"


def test_what_is_missing_is_told_with_the_line_of_its_table(file: ConfigFile) -> None:
    assert line(file, "topic") == 1
    assert line(file, "url", "sources", 0) == 8
    assert line(file, "secrets", "sources", 1) == 15
    assert line(file, header="routers.github") == 19
    assert line(file, header="routers.nobody") == 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("bind = \n", ":1: Invalid value"),
        ("a = 1\nbind = :80\n", ":2: Invalid value"),
        ("a = 1\na = 2\n", ":2: Cannot overwrite a value"),
        ('a = 1\nb = "', ":2: "),
        ("a = 1\nb =", ":2: Invalid value"),
        ("sources = 5\n", ":1: each source is written as a section [[sources]]"),
        ('a = 1\n[sources]\ntopic = "x"\n', ":2: each source is written as a section [[sources]]"),
        ("[alerts]\n", ":1: each alert is written as a section [[alerts]]"),
        ("sources = [5]\n", ":1: each source is written as a section [[sources]]"),
        ("a = 1\nrouters = []\n", ":2: the options of a router are written as a section [routers.NAME]"),
        (
            "a = 1\nreply_default = 'OK'\n",
            ":2: the answer where nobody replies is written as a section [reply_default]",
        ),
        ("[routers]\ngithub = 5\n", ":1: the options of a router are written as a section [routers.NAME]"),
    ],
)
def test_a_file_that_is_none_is_told_with_the_line(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "hookbot.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        ConfigFile.read(path)
    assert str(caught.value).startswith(f"{path}{reason}")


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("keep = “7d”", "quotation marks are \" or '"),
        ("keep: 7d", "TOML has NAME = VALUE, and # before a comment"),
        ("export keep='7d'", "TOML has NAME = VALUE, and # before a comment"),
        ("; a comment", "TOML has NAME = VALUE, and # before a comment"),
        ('{"keep": "7d"}', "TOML has NAME = VALUE, and # before a comment"),
        ('sslkey = "C:\\Users\\me"', "in double quotation marks, a backslash begins an escape: use single ones"),
        ("keep = 7d", "text stands in quotation marks"),
        ("keep = s3cret", "text stands in quotation marks"),
        ("keep =\xa0'7d'", "the line contains U+00A0 NO-BREAK SPACE"),
        ("ke\u200bep = '7d'", "the line contains U+200B ZERO WIDTH SPACE"),
    ],
)
def test_a_line_that_is_no_toml_is_told_with_what_is_probably_wrong(tmp_path: Path, text: str, hint: str) -> None:
    path = tmp_path / "hookbot.toml"
    path.write_text(f"a = 1\n{text}\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        ConfigFile.read(path)
    assert str(caught.value).startswith(f"{path}:2: ")
    assert str(caught.value).endswith(f"; {hint}")
    assert "s3cret" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"bind = '\xff'")
    for path in (tmp_path / "nothing", tmp_path, tmp_path / "latin"):
        with pytest.raises(ConfigError, match=str(path)):
            ConfigFile.read(path)


# --- tables


def half(number: int) -> int:
    if number % 2:
        raise ConfigError("it is odd")
    return number // 2


def test_what_is_taken_from_a_table_is_converted_and_gone() -> None:
    table = Table({"a": "text", "b": 4, "c": True, "d": ["x"], "e": 1})
    assert table.take("a", str) == "text"
    assert table.take("b", int, half) == 2
    assert table.take("c", bool) is True
    assert table.take("d", list, tuple) == ("x",)
    assert table.take("f", int, half, default=None) is None
    assert table.values == {"e": 1}
    table.check()


def test_all_that_is_wrong_with_a_table_is_told_at_once() -> None:
    table = Table({"a": 1, "b": 3, "c": 1})
    assert (table.take("a", str), table.take("b", int, half), table.take("d", int)) == (None, None, None)
    assert table.take("c", bool, default=False) is None
    table.wrong("e", "who knows")
    with pytest.raises(Mistakes) as caught:
        table.check()
    assert caught.value.mistakes == [
        ("a", "a must be a string, not an integer"),
        ("b", "it is odd"),
        ("d", "the key 'd' is missing"),
        ("c", "c must be true or false, not an integer"),
        ("e", "who knows"),
    ]
    assert str(caught.value).splitlines()[1] == "b: it is odd"


def test_a_value_of_a_wrong_kind_is_not_shown() -> None:
    table = Table({"secrets": "a secret"})
    table.take("secrets", list)
    with pytest.raises(Mistakes) as caught:
        table.check()
    assert "a secret" not in str(caught.value)
