"""What becomes of the messages that somebody listens for: handled in order, tried again, given up, acknowledged.

`Handling` (handling.py) takes them from `hookbot.client.listen` and hands each to a `Work`: posting it to a target
(posting.py), or running a command for it (running.py). Whoever is told to leave does so as stopping.py says.
"""

from .dead_letters import DeadLetters, GaveUp, Stopping
from .shutdown import Stop, run_until_stopped
from .work import Failed, Work
from .worker import Handling, Policy, Totals

__all__ = [
    "DeadLetters",
    "Failed",
    "GaveUp",
    "Handling",
    "Policy",
    "Stop",
    "Stopping",
    "Totals",
    "Work",
    "run_until_stopped",
]
