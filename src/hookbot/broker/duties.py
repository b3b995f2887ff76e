"""Work that exactly one hub of a family does at a time: whichever holds the duty."""

import logging
from collections.abc import Awaitable, Callable
from typing import NoReturn

import trio

from ..backoff import Backoff
from ..errors import Unavailable
from ..log.duties import Duties, Held, Holder

# A duty that is given up wakes who waits for it; this is for a notification that was lost.
LOOK_S = 3.0
# The clocks of hubs and server do not go at the same rate.
LATER_S = 0.1

logger = logging.getLogger(__package__)


async def while_held(
    duties: Duties,
    name: str,
    work: Callable[[Held], Awaitable[object]],
    *,
    waiting: Callable[[Holder], None] = lambda holder: None,
) -> NoReturn:
    """Do `work` whenever this hub holds the duty, until cancelled.

    It is cancelled when the duty is lost. If it returns, or fails with `Unavailable`, the duty is given up, and it
    begins again. `waiting` is called with each other holder that is found meanwhile.
    """
    backoff = Backoff(0.05, LOOK_S)
    while True:
        held = await _claim_when_free(duties, name, waiting)
        began = trio.current_time()
        try:
            with held.scope():
                await work(held)
        except Unavailable as error:
            logger.warning("%s: ended, trying again: %s", name, error)
        finally:
            await duties.give_up(held)
        await trio.sleep(backoff.next_s(lasted_s=trio.current_time() - began))


async def hold(duties: Duties, name: str, scope: trio.CancelScope) -> None:
    """Hold the duty whenever it is free, until the scope is cancelled; what is done for it asks `Duties.find`."""
    with scope:
        await while_held(duties, name, lambda held: held.lost.wait())


async def _claim_when_free(duties: Duties, name: str, waiting: Callable[[Holder], None]) -> Held:
    backoff = Backoff(LOOK_S / 4, LOOK_S)
    while True:
        # Before the claim: what changes after its answer is not missed.
        changed, delay_s = duties.changed, backoff.next_s()
        try:
            answer = await duties.claim(name)
        except Unavailable as error:
            logger.debug("%s: not claimed, trying again: %s", name, error)
        else:
            if isinstance(answer, Held):
                return answer
            waiting(answer)
            delay_s = min(delay_s, answer.ends_s + LATER_S)
        with trio.move_on_after(delay_s):
            await changed.wait()
