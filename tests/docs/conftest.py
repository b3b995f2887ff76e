from collections.abc import Iterator
from pathlib import Path

import pytest

from support.terminal import Terminal


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    """A terminal on an empty machine: the hubs of the pages, and their target, have free ports in place of theirs."""
    with Terminal(tmp_path, (8080, 8081, 8082, 3000, 4242)) as terminal:
        yield terminal
