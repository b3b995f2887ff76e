"""Deliveries per second over TLS, which hookbot serves with the web framework and not with the fast path."""

import ssl
from collections.abc import Iterator
from contextlib import ExitStack

import trustme

from benchmarks.contestants import FORGETS, HOOKBOT, QUART, Contestant, Stage, hub, server
from benchmarks.measures.fanout import cases, deliveries
from benchmarks.plan import Plan
from benchmarks.room import Room
from benchmarks.samples import Cell, Sample
from benchmarks.supply import plain

REFERENCES = {"deliveries/s": QUART, "µs of CPU per delivery": QUART}
COUNTED = "subscribers"
TOPIC = "bench/tls"


def measure(stage: Stage, plan: Plan) -> Iterator[Sample]:
    """Measure both contestants in turns."""
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    certificate, key = stage.directory / "certificate.pem", stage.directory / "key.pem"
    issued.cert_chain_pems[0].write_to_path(certificate)
    issued.private_key_pem.write_to_path(key)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    contestants = (
        Contestant(HOOKBOT.name, hub(*FORGETS, "--sslcrt", str(certificate), "--sslkey", str(key))),
        Contestant(QUART.name, server("quart_trio", str(certificate), str(key))),
    )
    with ExitStack() as stack:
        rooms = {
            one: stack.enter_context(Room(stage.start(one).port, one.protocol, [TOPIC] * plan.listeners, tls=client))
            for one in stage.present(contestants)
        }
        for round in range(plan.rounds):
            for case, messages in cases(200, plan):
                for one, room in rooms.items():
                    supply = plain(one.protocol, [TOPIC], 200)
                    values = deliveries(stage.start(one), room, supply, plan.listeners, messages, plan.seconds)
                    yield Sample(Cell("secure", f"TLS, {case}", plan.listeners, one.name), round, values)
    stage.settle()
