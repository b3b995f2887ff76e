"""Limits of a broker: the messages that it holds in memory, reads and writes at a time."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerLimits:
    """Limits of a broker. Each bounds memory or the time that others wait; no stored message is lost by any of them."""

    queue_bytes: int = 64 << 20
    """Size of the queued drafts, or of one submission if that is larger; further publishes are refused."""
    # A commit of this size takes a fraction of a second, and the first publish in it is answered with the last.
    batch_bytes: int = 8 << 20
    """Size of the drafts in one commit, or of one submission if that is larger."""
    unverified_queue_bytes: int = 64 << 20
    """Size of the queued drafts for which nobody vouches, which have a queue of their own."""
    # A publish with a token may have to wait for such a commit: some tens of milliseconds.
    unverified_batch_bytes: int = 4 << 20
    """Size of those in one commit."""

    due_bytes: int = 64 << 20
    """Bytes of deliveries that are due at a time, or half of them and those of one submission that causes more; further
    publishes wait. It takes some tens of milliseconds to send them."""

    window_messages: int = 10_000
    """Newest messages kept in memory for all subscriptions; those further behind read the log."""
    window_bytes: int = 16 << 20
    """Size of the window. The newest message stays, however large: all subscriptions read it from memory."""

    page_messages: int = 512
    """Messages read from the log at a time."""
    page_bytes: int = 512 << 10
    """Size of these messages, or of one message if that is larger."""
    cached_pages: int = 8
    """Pages kept in memory for all subscriptions that catch up."""
    cached_bytes: int = 32 << 20
    """Size of the cached pages, or of one page if that is larger."""

    frame_bytes: int = 32 << 20
    """Memory of the frames encoded from messages, or of the newest one if that is larger."""

    group_backlog: int = 10_000
    """A group stops reading while this many of its messages wait for a member, such as behind others of their topic."""
