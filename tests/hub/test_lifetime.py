"""What the log says of a hub when it starts and when it stops."""

import logging
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hookbot.access.sources import Source, Sources
from hookbot.errors import Unavailable
from hookbot.hub.lifetime import Lifetime, log_start
from hookbot.hub.logging_setup import fields_of
from hookbot.log.postgres_address import PostgresAddress
from hookbot.log.retention import Retention
from hookbot.log.sealing import key_id
from hookbot.signatures import load_provider
from hookbot.version import __version__
from support.hubs import configured


@pytest.fixture(autouse=True)
def informed(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "hookbot")


def told(caplog: pytest.LogCaptureFixture) -> dict[str, Any]:
    """Sentence and fields of the only record."""
    [record] = caplog.records
    return {"level": record.levelname, "says": record.getMessage(), **fields_of(record)}


def test_a_start_tells_what_the_hub_is_and_no_secret(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = PostgresAddress.parse("postgresql://hub:s3cret@db.example.com/hookbot")
    retention = Retention(max_age_s=60, max_bytes=None, max_count=7, max_unsafe_bytes=1)
    shared: dict[str, Any] = {"store": store, "advertise": "http://10.0.0.5:8080", "at_rest_keys": (bytes(32),)}
    config = replace(configured(tmp_path, retention=retention, routers=("github", "filter")), **shared)
    sources = Sources([Source("/unsafe/acme/", load_provider("stripe"), ["a secret"])])

    log_start(config, ["http://127.0.0.1:8080", "unix:/run/hookbot.sock"], sources)

    assert told(caplog) == {
        "level": "INFO",
        "says": "the hub has started",
        "version": __version__,
        "urls": "http://127.0.0.1:8080 unix:/run/hookbot.sock",
        "advertise": "http://10.0.0.5:8080",
        "store": str(store),
        "data_dir": str(tmp_path),
        "at_rest_keys": key_id(bytes(32)),
        "keep_s": 60,
        "keep_count": 7,
        "keep_unsafe_bytes": 1,
        "routers": "github,filter",
        "sources": "stripe:/unsafe/acme/",
    }
    assert "s3cret" not in str(store)


def test_a_stop_tells_the_first_signal_and_how_long_it_took(caplog: pytest.LogCaptureFixture) -> None:
    with Lifetime() as lifetime:
        lifetime.begin()
        lifetime.end_by(signal.SIGTERM)
        lifetime.end_by(signal.SIGINT)

    stopped = told(caplog)
    assert (stopped["level"], stopped["says"], stopped["why"]) == ("INFO", "the hub has stopped", "SIGTERM")
    assert stopped["up_s"] >= stopped["stopping_s"] >= 0


def test_an_error_that_ends_the_hub_is_the_reason(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        with Lifetime() as lifetime:
            lifetime.begin()
            raise ExceptionGroup("in a nursery", [Unavailable("the disk is gone")])

    with pytest.raises(ExceptionGroup):
        fail()

    stopped = told(caplog)
    assert (stopped["level"], stopped["why"]) == ("ERROR", "Unavailable: the disk is gone")


def test_a_hub_that_has_not_started_does_not_stop(caplog: pytest.LogCaptureFixture) -> None:
    with Lifetime() as lifetime:
        lifetime.end_by(signal.SIGTERM)
    assert caplog.records == []
