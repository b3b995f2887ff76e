import logging
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.x509 import load_pem_x509_certificate
from hypothesis import HealthCheck, settings

from hookbot.log.contract import Log
from hookbot.log.memory import MemoryLog
from hookbot.log.sqlite import open_sqlite_log
from support.duty_hubs import Family
from support.postgres import PostgresServer, running_postgres

pytest_plugins = ["hookbot.testing.plugin"]

# A busy machine is slow: no test fails for that.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("default")
# `make check` tries fewer examples where a test does not ask for a number.
settings.register_profile("quick", max_examples=20)

# Whoever pastes the tutorial has some of these: they are meant for that hub, and for no test.
for variable in [name for name in os.environ if name.startswith("HOOKBOT_")]:
    del os.environ[variable]


@pytest.fixture(autouse=True)
def loggers_as_they_were() -> Iterator[None]:
    """Undo the changes of a test, or of a command that it calls, to the loggers."""
    loggers = logging.getLogger(), logging.getLogger("hookbot")
    before = [(logger, logger.level, logger.handlers[:]) for logger in loggers]
    yield
    for logger, level, handlers in before:
        logger.setLevel(level)
        logger.handlers[:] = handlers


@pytest.fixture(scope="session", autouse=True)
def state_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory in which a command keeps what is the user's, in place of that of whoever runs the tests.

    There are no profiles of a user who is logged in, either.
    """
    os.environ["XDG_CONFIG_HOME"] = str(tmp_path_factory.mktemp("config"))
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))
    return Path(os.environ["XDG_STATE_HOME"], "hookbot")


@pytest.fixture(params=["fast path", "app"])
def ways(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Options of a hub with the fast path, and of one without it."""
    return {"door": request.param == "fast path"}


@pytest.fixture(params=["memory", "sqlite"])
async def each_log(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Log]:
    """Each kind of log that needs no server."""
    if request.param == "memory":
        yield MemoryLog()
    else:
        async with open_sqlite_log(tmp_path) as log:
            yield log


@pytest.fixture(scope="session")
def certificate() -> Any:
    """A client certificate."""
    issued = trustme.CA().issue_cert("robot.example", common_name="robot", organization_name="Acme, Inc.")
    return load_pem_x509_certificate(issued.cert_chain_pems[0].bytes())


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A server for all tests of this process: each uses a schema of its own."""
    with running_postgres() as server:
        yield server


@pytest.fixture
def family(postgres: PostgresServer) -> Family:
    """A family of hubs that share the server."""
    return Family(postgres)
