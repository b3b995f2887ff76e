"""`make demo`: each listener hears what it subscribes to, and nothing of its neighbour."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

DEMO = Path(__file__).parents[2] / "examples" / "demo.py"


def test_a_listener_hears_its_repository_and_not_its_neighbour() -> None:
    done = subprocess.run([sys.executable, DEMO], capture_output=True, text=True, timeout=60, check=True)

    heard = re.findall(r"(?m)^  Codertocat/(\S*) +<- github\.com/repo/Codertocat/([^/\n]+)", done.stdout)
    assert {(name, about) for name, about in heard if name} == {
        ("Hello-World", "Hello-World"),
        ("Spoon-Knife", "Spoon-Knife"),
    }
    assert {about for name, about in heard if not name} == {"Hello-World", "Spoon-Knife"}
    for name in ("Hello-World", "Spoon-Knife", ""):
        assert f"  Codertocat/{name:13} {sum(listener == name for listener, _ in heard)} messages\n" in done.stdout
    assert "refused, it is signed with another secret: 401" in done.stdout
