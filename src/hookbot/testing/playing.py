"""Messages of a recording, and deliveries, posted to what a test is about."""

import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import NamedTuple

import trio

from ..delivery.forwarder import ForwardOptions, open_forwarder
from ..delivery.outcome import Failed
from ..delivery.recording import Recording
from ..delivery.signer import Signer
from ..delivery.target import Target
from ..protocol.message import Headers, Message
from .apps import App, serving
from .deliveries import Delivery, header_pairs

Recorded = str | os.PathLike[str] | Iterable[Message | Delivery]
"""The path of a recording, or messages and deliveries."""


class Response(NamedTuple):
    """A response to a posted message: the body is its first 64 KiB."""

    status: int
    headers: Headers
    body: bytes


def recorded(path: str | os.PathLike[str]) -> list[Message]:
    """Messages in a file of JSON lines, such as one of ``hookbot record``, in its order.

    Raises `ValueError` if a line is damaged; one at the end that was cut off is left out.
    """
    with open(path, "rb") as file:
        recording = Recording(file, os.fspath(path))
        messages = [item for item in recording if isinstance(item, Message)]
    if recording.damaged:
        raise ValueError(f"{recording.damaged} damaged lines in {os.fspath(path)!r}: the log has their numbers")
    return messages


def play(
    messages: Recorded,
    to: str | App,
    path: str = "/",
    *,
    sign: tuple[str, str] | None = None,
    headers: Headers | Mapping[str, str] = (),
    timeout_s: float = 10.0,
) -> list[Response]:
    """Post messages one after the other, as ``hookbot forward`` does, and return the responses.

    - `messages`: the path of a recording, or messages and deliveries
    - `to`: a URL, or a WSGI or ASGI app, which is served meanwhile
    - `path`: the path in the app
    - `sign`: provider and secret, such as ``("stripe", "whsec_test")``, by which each is signed anew, at the current
      time and for this URL: signatures of recordings are too old
    - `headers`: headers that replace those of the same name

    No message is tried again, whatever the response. Raises `RuntimeError` if there is none within `timeout_s`,
    `ConfigError` for a provider or a secret that cannot sign, and as `recorded`.
    """
    items = recorded(messages) if isinstance(messages, str | os.PathLike) else messages
    options = ForwardOptions(
        "play", timeout_s, header_pairs(headers), signer=Signer.load(sign[0], {}, sign[1]) if sign else None, once=False
    )
    with ExitStack() as stack:
        url = to if isinstance(to, str) else stack.enter_context(serving(to)) + path
        # In a thread of its own: a test may run on Trio itself.
        pool = stack.enter_context(ThreadPoolExecutor(1, "hookbot-play"))
        return pool.submit(trio.run, _post, [_message(item) for item in items], Target.parse(url), options).result()


async def _post(messages: Sequence[Message], target: Target, options: ForwardOptions) -> list[Response]:
    responses = []
    async with open_forwarder(target, options) as forwarder:
        for message in messages:
            try:
                outcome = await forwarder.post(message, 1)
            except Failed as failure:
                outcome = failure.outcome
            if outcome.exchange is None:
                raise RuntimeError(outcome.line)
            responses.append(Response(outcome.exchange.status, outcome.exchange.headers, outcome.exchange.body))
    return responses


def _message(item: Message | Delivery) -> Message:
    return item if isinstance(item, Message) else Message("", item.body, item.headers)
