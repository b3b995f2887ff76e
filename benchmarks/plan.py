"""Plans: the sizes and durations of a run."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """Sizes and durations of a run."""

    rounds: int
    seconds: float
    """Duration of each cell in each round."""
    subscribers: tuple[int, ...] = (1, 10, 100, 1000)
    sizes: tuple[int, ...] = (200,)
    connections: tuple[int, ...] = (1, 16, 64)
    listeners: int = 100
    """Subscribers in the measures that do not vary their number."""
    burst: int = 20
    """Messages published at once."""
    idle: int = 5000
    """Idle subscribers."""
    idle_tls: int = 500
    """Idle subscribers with TLS."""
    handshakes: int = 1000
    """Handshakes in each round."""
    many_topics: int = 9_500
    """Topics with a subscriber each."""
    topics: int = 100_000
    """Subscribed topics."""
    history: int = 100_000
    """Messages in the log that subscribers resume from."""
    resuming: int = 0
    """Subscribers that resume at once, `behind` messages before the end."""
    behind: int = 10_000
    resumes: int = 20
    """Subscribers that resume one after the other."""


QUICK = Plan(rounds=3, seconds=0.3, subscribers=(1, 100, 1000))
FULL = Plan(rounds=5, seconds=1.0, sizes=(200, 10_000), handshakes=5000, history=1_000_000, resuming=200, resumes=100)
TINY = Plan(
    rounds=1,
    seconds=0.01,
    subscribers=(1, 4),
    connections=(1, 4),
    listeners=3,
    burst=3,
    idle=10,
    idle_tls=4,
    handshakes=10,
    topics=50,
    many_topics=20,
    history=300,
    resuming=2,
    behind=100,
    resumes=2,
)
