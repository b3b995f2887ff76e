"""TLS beside the same without: publishes, deliveries, and the memory of an idle subscriber."""

import ssl
from collections.abc import Iterator
from contextlib import ExitStack

import trustme

from benchmarks.contestants import BARE, FORGETS, HOOKBOT, QUART, Contestant, Stage, hub, server
from benchmarks.measures.fanout import cases, deliveries
from benchmarks.measures.idle import kb_each
from benchmarks.measures.publish import SIZE, publishes
from benchmarks.plan import Plan
from benchmarks.room import Room
from benchmarks.samples import Cell, Sample
from benchmarks.supply import plain

REFERENCES = {
    "publishes/s": QUART,
    "µs of CPU per publish": QUART,
    "deliveries/s": QUART,
    "µs of CPU per delivery": QUART,
    "kB each": BARE,
}
COUNTED = "connections"
TOPIC = "bench/secure"
DELIVERY_SIZE = 200

Way = tuple[str, Contestant, ssl.SSLContext | None]
"""A way to measure a contestant: its name, the process, and the context of clients."""


def measure(stage: Stage, plan: Plan) -> Iterator[Sample]:
    """Measure each contestant with TLS and without in turns."""
    client, files = certificates(stage)
    # By what each is called, with TLS and without.
    pairs = (
        (Contestant(HOOKBOT.name, hub(*FORGETS, "--sslcrt", files[0], "--sslkey", files[1])), HOOKBOT),
        (Contestant(QUART.name, server("quart_trio", *files)), QUART),
        (Contestant(BARE.name, server("bare_send", *files)), BARE),
    )
    ways: list[Way] = []
    for encrypted, plain_text in pairs:
        if stage.present([encrypted]):
            ways += [("TLS", encrypted, client), ("no TLS", plain_text, None)]
    yield from _publishing(stage, plan, ways)
    yield from _delivering(stage, plan, ways)
    for way, one, tls in ways:
        values = {"kB each": kb_each(stage, one, plan.idle_tls, tls)}
        yield Sample(Cell("secure", f"{way}, idle", plan.idle_tls, one.name), 0, values)


def certificates(stage: Stage) -> tuple[ssl.SSLContext, tuple[str, str]]:
    """Context of a client, and the files of a server that it trusts."""
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    certificate, key = stage.directory / "certificate.pem", stage.directory / "key.pem"
    issued.cert_chain_pems[0].write_to_path(certificate)
    issued.private_key_pem.write_to_path(key)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return client, (str(certificate), str(key))


def _publishing(stage: Stage, plan: Plan, ways: list[Way]) -> Iterator[Sample]:
    connections = plan.connections[-1]
    for round in range(plan.rounds):
        for way, one, tls in ways:
            process = stage.start(one)
            with Room(process.port, one.protocol, [], tls=tls) as room, room.publishers(connections):
                values = publishes(process, room, plain(one.protocol, [TOPIC], SIZE), plan.seconds)
            yield Sample(Cell("secure", f"{way}, publishes of 1 KB", connections, one.name), round, values)


def _delivering(stage: Stage, plan: Plan, ways: list[Way]) -> Iterator[Sample]:
    subscribers = plan.listeners
    with ExitStack() as stack:
        rooms = [
            stack.enter_context(Room(stage.start(one).port, one.protocol, [TOPIC] * subscribers, tls=tls))
            for _, one, tls in ways
        ]
        for round in range(plan.rounds):
            for case, messages in cases(DELIVERY_SIZE, plan):
                for (way, one, _), room in zip(ways, rooms, strict=True):
                    supply = plain(one.protocol, [TOPIC], DELIVERY_SIZE)
                    values = deliveries(stage.start(one), room, supply, subscribers, messages, plan.seconds)
                    yield Sample(Cell("secure", f"{way}, {case}", subscribers, one.name), round, values)
    stage.settle()
