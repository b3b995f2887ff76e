"""Audit log: a line for each act of an operator, with who has done what."""

import logging

logger = logging.getLogger("hookbot.audit")
# A level of its own, so that none that is set for hookbot turns it off.
logger.setLevel(logging.INFO)


def audit(act: str, *, by: str, client: str = "", **what: str | int | None) -> None:
    """Log what was done, `by` whom, from which address if by a request, and what it was about."""
    logger.info(act, extra={"by": by, "client": client, **what})
