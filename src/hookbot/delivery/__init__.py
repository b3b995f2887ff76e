"""What becomes of the messages that somebody listens for: handled in order, tried again, given up, acknowledged.

`Worker` (handling.py) takes them from `hookbot.client.listen` and hands each to a `Work`: posting it to a target
(posting.py), or running a command for it (running.py). Whoever is told to leave does so as stopping.py says.
"""

from .dead_letters import DeadLetters, GaveUp, Stopping
from .shutdown import Stop, run_until_stopped
from .work import Failed, Work
from .worker import Policy, Totals, Worker

__all__ = [
    "DeadLetters",
    "Failed",
    "GaveUp",
    "Policy",
    "Stop",
    "Stopping",
    "Totals",
    "Work",
    "Worker",
    "run_until_stopped",
]
