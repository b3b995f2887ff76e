"""A Mattermost message for each push: a router that calls out."""

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import httpx
from trio import sleep

from hookbot import ConfigError, Message, Publish, Secret

ATTEMPTS = 3
LONGEST_WAIT_S = 5.0
"""Between two attempts, whatever Mattermost asks for: a router has 30 seconds for a message."""


class MattermostRouter:
    """Posts a Mattermost message for each push.

    Reads the summaries that the GitHub router makes of pushes, and posts each to an incoming webhook.

    It publishes nothing. When the hub is killed after a post and before it could take note of that, the message
    is posted again: once is only possible within the hub.
    """

    name = "mattermost"

    def __init__(
        self,
        url: Secret,
        reads: Sequence[str] = ("github.com/repo/",),
        channel: str = "",
        timeout: float = 5.0,
    ) -> None:
        """`url`: of the incoming webhook; who knows it can post. `reads`: topics with summaries, or subtrees.

        `channel`: another one than the webhook's. `timeout`: seconds for one attempt.
        """
        if not url.startswith(("https://", "http://")):
            raise ConfigError("url is that of an incoming webhook, such as https://chat.example.org/hooks/...")
        self.topics = tuple(reads)
        self.url = url
        self.channel = channel
        self.timeout = timeout

    async def __aenter__(self) -> Self:
        """The hub enters a router before its first message: one client keeps its connections for all of them."""
        self.client = httpx.AsyncClient(timeout=self.timeout)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """And leaves it after its last."""
        await self.client.aclose()

    async def route(self, message: Message, publish: Publish) -> None:
        """Tell of one push. What cannot be posted in a few attempts is an error, and the hub keeps the message."""
        if "/branch/" not in message.topic:
            return
        post = {"text": text_of(message.json())}
        if self.channel:
            post["channel"] = self.channel
        await self.post(post)

    async def post(self, post: dict[str, Any]) -> None:
        """Post, waiting between attempts for what may pass: no connection, a busy or a broken server."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                answer = await self.client.post(self.url, json=post)
            except httpx.TransportError as error:
                problem, wait_s = type(error).__name__, 1.0 * attempt
            else:
                if answer.is_success:
                    return
                problem, wait_s = f"status {answer.status_code}", retry_after(answer, 1.0 * attempt)
                if answer.status_code != 429 and not answer.is_server_error:
                    break
            if attempt < ATTEMPTS:
                await sleep(min(wait_s, LONGEST_WAIT_S))
        raise RuntimeError(f"Mattermost did not take it: {problem}")  # without the URL, which is a secret


def retry_after(answer: httpx.Response, otherwise_s: float) -> float:
    """How many seconds a server asks to wait."""
    value = answer.headers.get("Retry-After", "")
    return float(value) if value.isdecimal() else otherwise_s


def text_of(push: dict[str, Any]) -> str:
    """What the channel reads, in Markdown."""
    repo, branch, sha, who = (plain(push[key]) for key in ("Repo", "Branch", "SHA", "Who"))
    if not sha.strip("0"):
        return f"{who} deleted `{branch}` of {repo}"
    return f"{who} pushed [`{sha[:7]}`](https://github.com/{repo}/commit/{sha}) to `{branch}` of {repo}"


def plain(text: str) -> str:
    """Text without what Mattermost would read as code, or as a call for everybody's attention."""
    return text.replace("`", "'").replace("@", "(at)")
