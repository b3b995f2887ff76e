"""Locks on files, by which processes take turns where the system has such locks."""


def lock(descriptor: int, *, wait: bool = True) -> None:
    """Lock an open file, or directory, until it is closed; without locks, do nothing.

    Another process that has it is waited for or, without `wait`, told by `BlockingIOError`.
    """
    try:
        import fcntl  # noqa: PLC0415

        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        raise
    # Windows has none, nor have some network file systems.
    except (ImportError, OSError):
        pass
