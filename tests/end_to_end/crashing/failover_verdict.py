"""What must hold after a failover that has lost the newest messages: everybody knows, and no id has two meanings."""

from collections.abc import Sequence

from end_to_end.crashing.cluster_load import Load
from end_to_end.crashing.listeners import Heard, Listener, compare
from end_to_end.crashing.senders import digest
from end_to_end.crashing.tables import Stored
from end_to_end.crashing.verdict import audible, check_github, check_kept, check_order, check_senders


def report_loss(load: Load, before: list[Stored], stored: list[Stored]) -> str:
    """Check everything, given what the old primary has and what its log has now; returns a summary."""
    check_ids(load, [*before, *stored])
    kept = {message.id for message in stored}
    lost = [message for message in before if message.id not in kept]
    compare("the promoted server", stored[: len(before) - len(lost)], before[: len(before) - len(lost)])
    answered = {one.id for sender in load.senders for one in sender.acknowledged}
    lost_answered = [message for message in lost if message.id in answered]
    twice = check_senders(load.senders, sorted([*stored, *lost_answered]))
    check_order(load.senders)
    # A router may have read what was lost, and publish then what comes of it.
    routed = check_kept(stored, lost) + check_github(stored, lost)
    heard = {message.id for listener in load.listeners for message in listener.heard}
    # Nobody has been told anything of the others.
    known = [message for message in lost if message.id in answered | heard]
    in_gaps = sum(check_listener(listener, stored, lost, known) for listener in load.alone)
    assert lost_answered, "nothing was lost that anybody could miss"
    return f"""\
  {load.acknowledged} acknowledged, {len(lost_answered)} of them lost, and {len(lost) - len(lost_answered)} others
  {len(stored)} in the log, {twice} of them twice: the answer was lost, and who sends without a key has to send again
  {routed} published by routers and not lost, once each for what is in the log
  {sum(len(listener.heard) for listener in load.listeners)} heard; {in_gaps} times, what is lost was in a gap instead
  ids of two messages 0, out of order 0, lost without a gap 0, false gaps 0
"""


def check_ids(load: Load, stored: Sequence[Stored]) -> None:
    """Check that no id was ever used for two messages, whoever was told of them, or of what is stored."""
    bodies: dict[str, bytes] = {}
    answers = [(one.id, one.body) for sender in load.senders for one in sender.acknowledged]
    heard = [(message.id, message.body) for listener in load.listeners for message in listener.heard]
    for id, body in [*answers, *heard, *((message.id, digest(message.body)) for message in stored)]:
        assert bodies.setdefault(id, body) == body, f"{id} is the id of two messages"


def check_listener(listener: Listener, stored: list[Stored], lost: list[Stored], known: list[Stored]) -> int:
    """Check that a listener has heard all that is stored, in order, and all that is `known` to be lost, or a gap there.

    Returns how many of these were in a gap. No gap has anything in it that is stored.
    """

    def wanted(messages: list[Stored]) -> list[Heard]:
        since = listener.sessions[0].since
        return [message for message in audible(messages, listener.topic) if since in ("", "all") or message.id > since]

    heard, kept = set(listener.heard), wanted(stored)
    compare(listener.name, listener.heard, sorted(heard))
    compare(listener.name, sorted(heard - set(wanted(lost))), kept)
    false = [message for message in kept if is_in_gap(listener, message)]
    assert not false, f"{listener.name} was told that it has missed {false}: {listener.gaps}"
    missed = [message for message in wanted(known) if message not in heard]
    untold = [message for message in missed if not is_in_gap(listener, message)]
    assert not untold, f"{listener.name} was not told that it has missed {untold}: {listener.gaps}"
    return len(missed)


def is_in_gap(listener: Listener, message: Heard) -> bool:
    return any((gap.after or "") < message.id < gap.before for gap in listener.gaps)
