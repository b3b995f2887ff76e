"""The default timing fits the defaults of a hub."""

from pathlib import Path

from hookbot.backoff import Backoff
from hookbot.client.timing import DEFAULT_TIMING
from hookbot.hub.config import Config
from hookbot.hub.secret_store import StoredSecret


def test_a_connection_may_miss_two_pongs_or_two_heartbeats_before_it_counts_as_dead() -> None:
    assert DEFAULT_TIMING.silence_s >= 3 * DEFAULT_TIMING.ping_s
    assert DEFAULT_TIMING.silence_s >= 3 * Config(StoredSecret("key"), Path()).heartbeat_s


def test_each_listener_has_delays_of_its_own() -> None:
    first, second = DEFAULT_TIMING.backoff(), DEFAULT_TIMING.backoff()

    assert isinstance(first, Backoff)
    assert first is not second
