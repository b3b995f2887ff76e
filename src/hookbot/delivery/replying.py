"""Replies to senders that wait: what a target or a command answered, handed back through the hub."""

import logging
from dataclasses import replace
from functools import partial

from ..client import Messages, Reply
from ..protocol.message import Message
from ..protocol.replies import MAX_REPLY_BODY, safe_headers
from .outcome import Exchange, Failed, Outcome
from .worker import Work

logger = logging.getLogger(__package__)


def replying(work: Work, messages: Messages) -> Work:
    """The work, which also replies to messages whose senders wait for that, with what was answered.

    Any answer is one: after 4xx or 5xx, such a message is done, too. A message whose sender waits no longer, or gets no
    answer that fits into a reply, is handled as without replies.
    """
    return partial(_work_and_reply, work, messages)


async def _work_and_reply(work: Work, messages: Messages, message: Message, attempt: int) -> Outcome:
    failed: Failed | None = None
    try:
        outcome = await work(message, attempt)
    except Failed as failure:
        failed, outcome = failure, failure.outcome
    if outcome.exchange and messages.awaits_reply(message):
        try:
            messages.reply(message, _reply_of(outcome.exchange))
        except ValueError as error:
            logger.warning(
                "%s %s is not replied to, and its sender gets the default: %s", message.topic, message.id, error
            )
        else:
            return replace(outcome, handed_back=True)
    if failed:
        raise failed
    return outcome


def _reply_of(exchange: Exchange) -> Reply:
    """Reply with what was answered; raises `ValueError` if that does not fit into one."""
    # RFC 9110, section 15.5.8.
    if exchange.status == 407:
        raise ValueError("a proxy has answered that it asks for credentials")
    if not exchange.is_whole:
        raise ValueError(f"its body has more than {MAX_REPLY_BODY} bytes, or did not come to its end")
    return Reply(exchange.status, safe_headers(exchange.headers), exchange.body)
