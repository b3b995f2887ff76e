"""`make demo` and `make demo-cluster` show what they say."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from support import GUARD_S
from support.postgres import require_postgres

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[2] / "examples"


def printed_by(demo: str) -> str:
    """What a demo prints, which ends well."""
    command = [sys.executable, str(EXAMPLES / demo)]
    return subprocess.run(command, capture_output=True, text=True, timeout=3 * GUARD_S, check=True).stdout


def test_a_listener_hears_its_repository_and_not_its_neighbour() -> None:
    printed = printed_by("demo.py")

    heard = re.findall(r"(?m)^  Codertocat/(\S*) +<- github\.com/repo/Codertocat/([^/\n]+)", printed)
    assert {(name, about) for name, about in heard if name} == {
        ("Hello-World", "Hello-World"),
        ("Spoon-Knife", "Spoon-Knife"),
    }
    assert {about for name, about in heard if not name} == {"Hello-World", "Spoon-Knife"}
    for name in ("Hello-World", "Spoon-Knife", ""):
        assert f"  Codertocat/{name:13} {sum(listener == name for listener, _ in heard)} messages\n" in printed
    assert "refused, it is signed with another secret: 401" in printed


def test_a_hub_that_is_killed_costs_no_listener_a_message() -> None:
    require_postgres()

    printed = printed_by("cluster/demo.py")

    [stored] = re.findall(r"The senders were told of (\S+) messages", printed)
    rows = re.findall(r"(?m)^  (listener \d) +(\S+) +(\d+) +(\d+) +(\d+)$", printed)
    assert rows == [(f"listener {number}", stored, "0", "0", "0") for number in (1, 2)]
    assert "  hub 1 is killed, after " in printed
    assert "listener 1 is connected again" in printed
    assert "Nothing was lost, doubled or out of order" in printed
