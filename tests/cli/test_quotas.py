"""``hookbot quotas``."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from hookbot.access.tokens import make_token
from hookbot.hub.hub import open_hub
from support import KEY
from support.commands import Caller
from support.hubs import ThreadHub, configured

pytestmark = pytest.mark.usefixtures("environment")


@pytest.fixture
def limited(tmp_path: Path) -> Iterator[ThreadHub]:
    text = '[quotas."team/"]\nbytes = "1MB/h"\nsubscribers = 5\n[quotas.""]\ncursors = 9\n'
    with ThreadHub(open_hub(configured(tmp_path, text))) as thread:
        yield thread


def url_for(hub: ThreadHub, path: str) -> str:
    return f"{hub.url.replace('://', f'://{make_token(KEY, path)}@')}{path}"


def test_quotas_are_listed_with_what_is_used(limited: ThreadHub, call: Caller, tmp_path: Path) -> None:
    (tmp_path / "body").write_bytes(bytes(990_000))
    assert call("publish", url_for(limited, "/pub/team/x"), str(tmp_path / "body"))[0] == 0
    code, out, err = call("quotas", "--url", limited.url, HOOKBOT_KEY=KEY)
    assert code == 0, err
    heading, of_bytes, *others = out.decode().splitlines()
    assert heading.split() == ["PREFIX", "QUOTA", "LIMIT", "USED", "REFUSED"]
    # It leaks meanwhile.
    assert re.fullmatch(r"team/ +bytes +1MB/h +9\d\d\.\d kB +0", of_bytes)
    assert [line.split() for line in others] == [
        ["team/", "subscribers", "5", "0", "0"],
        ["all", "topics", "cursors", "9", "0", "0"],
    ]


def test_quotas_are_listed_in_json(limited: ThreadHub, call: Caller) -> None:
    code, out, _ = call("quotas", "--url", url_for(limited, "/sub/team/"), "--json")
    assert code == 0
    assert [(row["kind"], row["limit"]) for row in json.loads(out)] == [("bytes", 1 << 20), ("subscribers", 5)]
