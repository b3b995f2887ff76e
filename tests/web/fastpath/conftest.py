import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def nothing_unexpected(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No test of the fast path may log an error that it does not look for."""
    yield
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
