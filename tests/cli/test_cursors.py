"""``hookbot cursors``."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from hookbot.cli.cursors import behind_of
from hookbot.testing import KEY
from support.commands import Caller
from support.hubs import ThreadHub

pytestmark = pytest.mark.usefixtures("environment")

MINE = "/hookbot/v1/cursors"


@pytest.fixture
def listened(thread: ThreadHub, call: Caller, topic: str, sub: str) -> str:
    """The path of a subscription whose cursor ``c`` and group ``g`` have had one of three messages."""
    thread.publish(topic, b"1", b"2", b"3")
    for kind, name in (("--cursor", "c"), ("--group", "g")):
        call("listen", "--raw", "--since", "all", "-n", "1", kind, name, sub)
    return f"/sub/{topic}"


def listed(call: Caller, thread: ThreadHub, path: str) -> dict[str, Any]:
    code, out, err = call("cursors", "list", "--json", "--path", path, "--url", thread.url_for("/"))
    assert code == 0, err
    return {row["kind"]: row for row in json.loads(out)}


def test_cursors_and_groups_are_listed_with_how_far_they_are_behind(
    thread: ThreadHub, call: Caller, listened: str
) -> None:
    code, out, _ = call("cursors", "list", "--url", thread.url_for(MINE), "--path", listened)
    heading, cursor, group = out.decode().splitlines()
    assert code == 0
    assert heading.split() == ["KIND", "PATH", "NAME", "BEHIND", "LAG", "CONNECTED", "USED", "POSITION"]
    assert re.fullmatch(rf"cursor +{listened} +c +2 \(\d+s\) +2 +no .*", cursor)
    assert re.fullmatch(rf"group +{listened} +g +2 \(\d+s\) +2 +no .*", group)


def test_a_cursor_is_moved_and_goes_on_from_there(thread: ThreadHub, call: Caller, listened: str) -> None:
    code, out, _ = call("cursors", "move", "--url", thread.url_for("/"), "--since", "now", listened, "c")
    assert code == 0
    assert out.decode().splitlines()[1].split()[3] == "0"
    call("cursors", "move", "--url", thread.url_for("/"), "--since", "all", "--group", listened, "g")
    lags = {kind: row["lag"] for kind, row in listed(call, thread, listened).items()}
    assert lags["cursor"] == 0
    assert lags["group"] >= 3


def test_a_cursor_is_moved_so_that_it_begins_with_a_message(
    thread: ThreadHub, call: Caller, listened: str, sub: str
) -> None:
    [first, *_] = map(json.loads, call("listen", "--json", "--no-follow", sub)[1].splitlines())
    code, _, err = call("cursors", "move", "--url", thread.url_for("/"), "--from", first["id"], listened, "c")
    assert code == 0, err
    assert listed(call, thread, listened)["cursor"]["behind"] == 3


@pytest.mark.parametrize(
    ("counted", "text"),
    [
        ({"behind": 0, "behind_more": False, "behind_s": 0.0}, "0"),
        ({"behind": 10000, "behind_more": True, "behind_s": 7300.5}, "10000+ (2h)"),
        ({"behind": None, "behind_more": False, "behind_s": None}, "?"),
        ({}, "?"),
        ({"behind": 7, "behind_s": [1e999]}, "7"),
    ],
)
def test_what_was_not_counted_is_not_known(counted: dict[str, Any], text: str) -> None:
    assert behind_of(counted) == text


def test_a_group_is_deleted_and_the_cursor_stays(thread: ThreadHub, call: Caller, listened: str) -> None:
    assert call("cursors", "delete", "--url", thread.url_for("/"), "--group", listened, "g")[0] == 0
    assert set(listed(call, thread, listened)) == {"cursor"}
    code, _, err = call("cursors", "delete", "--url", thread.url_for("/"), "--group", listened, "g")
    assert code == 3
    assert "there is no group 'g'" in err


def test_without_a_token_it_is_made_of_the_key(thread: ThreadHub, call: Caller) -> None:
    assert call("--key", KEY, "cursors", "list", "--url", thread.url)[0] == 0
    assert call("cursors", "list", HOOKBOT_URL=thread.url, HOOKBOT_KEY=KEY)[0] == 0
    code, _, err = call("cursors", "list", "--url", thread.url)
    assert (code, err.partition(";")[0]) == (3, "hookbot: 401 Unauthorized: there is no token")


def test_a_stored_key_opens_only_a_hub_on_this_machine(thread: ThreadHub, call: Caller, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "key").write_text(KEY)
    # An address that is not one of loopback, though it leads to this machine.
    elsewhere = thread.url.replace("127.0.0.1", "0.0.0.0")

    assert call("cursors", "list", "--url", thread.url)[0] == 0
    code, _, err = call("cursors", "list", "--url", elsewhere)

    note, error = err.splitlines()
    assert code == 3
    assert note.startswith("no token is made for 0.0.0.0:")
    assert error.startswith("hookbot: 401 Unauthorized: there is no token")
    assert call("cursors", "list", "--url", elsewhere, HOOKBOT_KEY_FILE=str(tmp_path / "data" / "key"))[0] == 0


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["list"], 2, "there is no profile, and no hub on this machine"),
        (["list", "--url", "http://127.0.0.1:1"], 4, "Connection refused"),
        (["move", "--url", "{root}", "/sub/a", "c"], 2, "Needs either --since or --from."),
        (["move", "--url", "{root}", "--since", "all", "--from", "x", "/sub/a", "c"], 2, "Needs either --since or"),
        (["move", "--url", "{root}", "--since", "soon", "/sub/a", "c"], 3, "since must be an id"),
        (["list", "--url", "{root}", "--path", "/pub/a"], 3, "/pub/a"),
        (["list", "--url", "ftp://nonsense"], 3, "a URL must begin with"),
    ],
)
def test_what_cannot_be_done_is_said(thread: ThreadHub, call: Caller, words: list[str], code: int, said: str) -> None:
    ended, _, err = call("cursors", *(word.format(root=thread.url_for("/")) for word in words))
    assert ended == code
    assert said in err
