"""A router that posts a Mattermost message for each push, and an example of one that calls another service."""

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import httpx
from trio import sleep

from hookbot import ConfigError, Message, Publish, Secret

# With the default timeout and the longest waits between them, they fit into the 30 seconds of a router.
ATTEMPTS = 3
LONGEST_WAIT_S = 5.0
"""Limit on the delay between two attempts, even if Mattermost asks for more: a router has 30 seconds for a message."""


class MattermostRouter:
    """Posts a Mattermost message for each push.

    Reads the summaries that the GitHub router publishes of pushes, and posts each to an incoming webhook.

    It publishes nothing. If the hub is killed after a post and before the position is stored, the message is posted
    again: exactly once is only possible for publishes within the hub.
    """

    name = "mattermost"

    def __init__(
        self,
        url: Secret,
        reads: Sequence[str] = ("github.com/repo/",),
        channel: str = "",
        timeout: float = 5.0,
    ) -> None:
        """`url`: URL of the incoming webhook; a secret, since nothing else is needed to post.

        `reads`: topics with summaries, and subtrees. `channel`: channel to post to instead of the webhook's. `timeout`:
        seconds for one attempt.
        """
        if not url.startswith(("https://", "http://")):
            raise ConfigError("url must be that of an incoming webhook, such as https://chat.example.org/hooks/...")
        self.topics = tuple(reads)
        self.url = url
        self.channel = channel
        self.timeout = timeout

    async def __aenter__(self) -> Self:
        """Open a client that keeps its connections; the hub enters a router before its first message."""
        self.client = httpx.AsyncClient(timeout=self.timeout)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the client; the hub exits a router after its last message."""
        await self.client.aclose()

    async def route(self, message: Message, publish: Publish) -> None:
        """Post one push. Raises `RuntimeError` if a few attempts fail; the hub then retries and keeps the message."""
        if "/branch/" not in message.topic:
            return
        post = {"text": text_of(message.json())}
        if self.channel:
            post["channel"] = self.channel
        await self.post(post)

    async def post(self, post: dict[str, Any]) -> None:
        """Post, and retry after a delay if there is no connection or the server is busy or broken."""
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
        # Without the URL, which is a secret.
        raise RuntimeError(f"Mattermost rejected the post: {problem}")


def retry_after(answer: httpx.Response, otherwise_s: float) -> float:
    """Seconds that the server asks to wait, or `otherwise_s` if it does not say."""
    value = answer.headers.get("Retry-After", "")
    return float(value) if value.isdecimal() else otherwise_s


def text_of(push: dict[str, Any]) -> str:
    """Text of the post, in Markdown."""
    repo, branch, sha, who = (plain(push[key]) for key in ("Repo", "Branch", "SHA", "Who"))
    if not sha.strip("0"):
        return f"{who} deleted `{branch}` of {repo}"
    return f"{who} pushed [`{sha[:7]}`](https://github.com/{repo}/commit/{sha}) to `{branch}` of {repo}"


def plain(text: str) -> str:
    """Text without backticks and mentions, which Mattermost would render as code or notify a channel for."""
    return text.replace("`", "'").replace("@", "(at)")
