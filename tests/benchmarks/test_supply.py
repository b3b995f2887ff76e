"""Requests that the load generator sends."""

from benchmarks.github import deliveries
from benchmarks.protocols import HttpAndWebsockets
from benchmarks.stamps import delays_of
from benchmarks.supply import Supply, plain

TAKEN = 60


def heads(supply: Supply) -> set[bytes]:
    return {bytes(supply.take().data).partition(b"\r\n\r\n")[0] for _ in range(TAKEN)}


def test_every_publish_has_a_head_of_its_own() -> None:
    assert len(heads(plain(HttpAndWebsockets(), ["a", "b"], 200))) == TAKEN
    assert len(heads(deliveries(summaries=True))) == TAKEN


def test_deliveries_are_as_large_as_those_of_github() -> None:
    supply = deliveries(summaries=True)
    sizes = [len(supply.take().data) for _ in range(TAKEN)]

    assert min(sizes) > 2000
    assert max(sizes) < 30_000


def test_a_request_tells_when_it_was_sent() -> None:
    request = plain(HttpAndWebsockets(), ["a"], 200).take()
    request.stamp(1.0)

    assert len(delays_of(bytes(request.data))) == 1
