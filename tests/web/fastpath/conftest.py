import logging
from collections.abc import Iterator

import pytest

from support.tls import ENCRYPTED


@pytest.fixture
def encrypted() -> Iterator[None]:
    """The connections of the test are encrypted."""
    token = ENCRYPTED.set(True)
    yield
    ENCRYPTED.reset(token)


@pytest.fixture(params=["plain", "tls"])
def plain_and_encrypted(request: pytest.FixtureRequest) -> None:
    """The test runs twice: its connections are plain first, and then encrypted."""
    if request.param == "tls":
        request.getfixturevalue("encrypted")


@pytest.fixture(autouse=True)
def nothing_unexpected(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No test of the fast path may log an error that it does not look for."""
    yield
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
