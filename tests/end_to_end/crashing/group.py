"""A group: members that share what comes, acknowledge it one by one, in any order, and die now and then."""

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import trio
from websockets.sync.client import ClientConnection

from end_to_end.crashing.acknowledgements import Acknowledgements
from end_to_end.crashing.hub import Reachable
from end_to_end.crashing.listeners import Heard, Session, compare
from end_to_end.crashing.websocket_listeners import ACKS, BEHIND, DIES, V1
from hookbot.client.progress import REPEATED

MAX_UNACKED = 50


class Delivery(NamedTuple):
    """A message that was given to a member."""

    life: int
    id: str
    topic: str
    redelivered: bool
    acknowledged: bool
    """True if a member had acknowledged it before, or had tried to."""
    forgotten: bool
    """True if it comes for the first time since an acknowledgement that got lost."""


class Group:
    """A group, and all deliveries to its members, each of which is at the next one of `hubs`."""

    def __init__(
        self,
        hubs: Sequence[Reachable],
        name: str,
        topic: str,
        *,
        members: int = 3,
        by_topic: bool = False,
        stuck: str | None = None,
        seed: str = "",
    ) -> None:
        self.name = name
        self.stuck = stuck
        """Topic whose messages nobody acknowledges, until this becomes None."""
        self._stuck_topic = stuck
        self.topic = topic
        self.by_topic = by_topic
        self.deliveries: list[Delivery] = []
        self.acked: dict[str, None] = {}
        """Ids, in the order of the first attempts to acknowledge them."""
        self.acknowledgements = Acknowledgements(hubs[0])
        self.abandoned: set[tuple[int, str]] = set()
        """What a member had, and had not acknowledged, when it was cut off: in which life of the hub, and the id."""
        self.members = [
            Member(hubs[number % len(hubs)], self, f"{name} {number}", topic, seed=seed) for number in range(members)
        ]

    @property
    def heard(self) -> list[Heard]:
        return [heard for member in self.members for heard in member.heard]

    @property
    def heard_at(self) -> list[float]:
        return [at for member in self.members for at in member.heard_at]

    @property
    def sessions(self) -> list[Session]:
        return [session for member in self.members for session in member.sessions]

    async def run(self) -> None:
        """Run all members until `end`."""
        async with trio.open_nursery() as nursery:
            for member in self.members:
                nursery.start_soon(member.run)

    def end(self) -> None:
        """Tell all members that no more messages follow."""
        for member in self.members:
            member.end()

    def check(self, expected: list[Heard]) -> int:
        """Check that everything is acknowledged in the end, and that repeats are marked as such.

        Returns how many there were, without those of the topic that was stuck.
        """
        compare(self.name, sorted(set(self.heard)), expected)
        assert self.acked.keys() == {message.id for message in expected}, f"{self.name} has not acknowledged everything"
        self._check_repeats()
        self.acknowledgements.check(self.name)
        for session in self.sessions:
            assert all(heard.id > session.since for heard in session.heard), f"{self.name} was given what it was past"
            acked = set([*self.acked][: session.acked])
            passed = [message.id for message in expected if message.id <= session.since]
            assert acked.issuperset(passed), (
                f"{self.name}: the hub was at {session.since}, not all of that acknowledged"
            )
        if self.by_topic:
            self._check_order()
        given, stored = ([one.topic != self._stuck_topic for one in all] for all in (self.deliveries, expected))
        return sum(given) - sum(stored)

    def _check_repeats(self) -> None:
        """In one life of the hub a message goes to a second member only if the first was cut off with it.

        Or if its acknowledgement got lost on the way, about which `acknowledgements` knows more.
        """
        given = set()
        for delivery in self.deliveries:
            this = delivery.life, delivery.id
            if this in given:
                assert delivery.redelivered, f"{self.name} was given {delivery} twice, and not told so"
                assert delivery.forgotten or this in self.abandoned, (
                    f"{self.name} was given {delivery} twice, without a reason"
                )
            given.add(this)

    def _check_order(self) -> None:
        last: defaultdict[tuple[int, str], str] = defaultdict(str)
        for life, id, topic, redelivered, acknowledged, _ in self.deliveries:
            # Another member may acknowledge a message once more while it is on its way: then it holds up none after it.
            again = redelivered or acknowledged
            assert again or id > last[life, topic], f"{self.name} was given {id} after {last[life, topic]}"
            last[life, topic] = id


class Member(V1):
    """A member of a group."""

    def __init__(self, hub: Reachable, group: Group, name: str, topic: str, *, seed: str) -> None:
        super().__init__(hub, name, topic, seed=seed)
        self.group = group
        self._acked: list[str] = []
        """The last ones, which are acknowledged again on the next connection, as hookbot's client does."""

    def listen(self) -> None:
        order = {"key": "topic"} if self.group.by_topic else {}
        with self.connected(group=self.group.name, since="all", max_unacked=MAX_UNACKED, **order) as (websocket, life):
            self.begin(life, self.read_hello(websocket)["position"], len(self.group.acked))
            self._held: list[str] = []
            self._stuck: list[str] = []
            # In the group with the topic that is stuck, all depends on what the hub has saved.
            if not self.group.stuck:
                self._send_ack(websocket, self._acked)
            try:
                self._take_part(websocket)
            finally:
                self.group.abandoned.update((life, id) for id in [*self._held, *self._stuck])

    def _take_part(self, websocket: ClientConnection) -> None:
        for frame in self.frames(websocket):
            if frame:
                self.hear_object(json.loads(frame))
            if not self.group.stuck:
                self._held += self._stuck
                self._stuck.clear()
            members = len(self.group.members)
            if self._held and (frame is None or self.random.random() < ACKS * members):
                self._ack(websocket, some=0 if frame is None else self.random.randrange(BEHIND // members))
            if frame and self.random.random() < DIES:
                return

    def hear(self, envelope: dict[str, Any]) -> None:
        super().hear(envelope)
        id, topic, life = envelope["id"], envelope["topic"], self.sessions[-1].life
        acknowledged, forgotten = id in self.group.acked, self.group.acknowledgements.hear(id, life)
        self.group.deliveries.append(Delivery(life, id, topic, "redelivered" in envelope, acknowledged, forgotten))
        (self._stuck if envelope["topic"] == self.group.stuck else self._held).append(envelope["id"])

    def _ack(self, websocket: ClientConnection, *, some: int) -> None:
        """Acknowledge the messages in hand, except for `some` of them."""
        self.random.shuffle(self._held)
        acked, self._held = self._held[some:], self._held[:some]
        # Before the hub can know of it.
        self.group.acked.update(dict.fromkeys(acked))
        self._acked = [*self._acked, *acked][-REPEATED:]
        self._send_ack(websocket, acked)
        self.group.acknowledgements.note(acked, self.sessions[-1].life)

    def _send_ack(self, websocket: ClientConnection, ids: list[str]) -> None:
        websocket.send(json.dumps({"type": "ack", "ids": ids}))
