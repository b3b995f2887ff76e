"""How much is measured."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """Sizes and times of a run."""

    rounds: int
    seconds: float
    """Of each cell in each round."""
    subscribers: tuple[int, ...] = (1, 10, 100, 1000)
    sizes: tuple[int, ...] = (200,)
    connections: tuple[int, ...] = (1, 16, 64)
    listeners: int = 100
    """Subscribers, where only one number of them is measured."""
    burst: int = 20
    """So many messages at once."""
    idle: int = 5000
    handshakes: int = 1000
    """In each round."""
    topics: int = 100_000
    history: int = 100_000
    """Messages in the log that is resumed from."""
    resuming: int = 0
    """Subscribers who resume at once from `behind` messages ago."""
    behind: int = 10_000
    resumes: int = 20
    """One after the other."""


QUICK = Plan(rounds=3, seconds=0.3)
FULL = Plan(rounds=5, seconds=1.0, sizes=(200, 10_000), handshakes=5000, history=1_000_000, resuming=200, resumes=100)
TINY = Plan(
    rounds=1,
    seconds=0.01,
    subscribers=(1, 4),
    connections=(1, 4),
    listeners=3,
    burst=3,
    idle=10,
    handshakes=10,
    topics=50,
    history=300,
    resuming=2,
    behind=100,
    resumes=2,
)
