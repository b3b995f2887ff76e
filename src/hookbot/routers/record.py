"""What is known of a running router."""

from dataclasses import dataclass


@dataclass(slots=True)
class RouterStats:
    """What a router has done since its process started, and how it is."""

    state: str = "starting"
    """Or ``running``, or ``waiting for restart``."""
    routed: int = 0
    published: int = 0
    retried: int = 0
    failed: int = 0
    gaps: int = 0
    restarts: int = 0
    blocked: int = 0
    """How often it held up the event loop."""
    error: str = ""
    """What went wrong last."""
