"""A router that posts a Mattermost message for each push, and an example of one that calls another service."""

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import httpx
from trio import sleep, to_thread

from hookbot import ConfigError, Message, Publish, Secret

# With one default timeout in each and the longest waits between them, they fit into the 30 seconds of a router.
ATTEMPTS = 3
LONGEST_WAIT_S = 5.0
"""Limit on the delay between two attempts, even if Mattermost asks for more: a router has 30 seconds for a message."""


class MattermostRouter:
    """Posts a Mattermost message for each push.

    Reads the summaries that the GitHub router publishes of pushes, and posts each to an incoming webhook.

    It publishes nothing. If the hub is killed after a post and before the position is stored, or Mattermost's response
    is lost, the message is posted again: exactly once is only possible for publishes within the hub.
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
        seconds for connecting, and for each read and write. Raises `ConfigError` if `url` is not an HTTP URL.
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
        """Post one push; messages on topics without ``/branch/`` are ignored.

        Raises `ValueError` for a message that is no summary, and `RuntimeError` as `post`. The hub then retries, and at
        last publishes the message to ``hookbot/failed/mattermost``.
        """
        if "/branch/" not in message.topic:
            return
        # In a thread, since parsing megabytes would hold up the hub.
        post = {"text": text_of(await to_thread.run_sync(message.json))}
        if self.channel:
            post["channel"] = self.channel
        await self.post(post)

    async def post(self, post: dict[str, Any]) -> None:
        """Post, with retries after a delay if there is no connection or the server is busy or broken.

        Raises `RuntimeError`, without the URL, if the last attempt fails or the post is refused.
        """
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
    """Seconds in the ``Retry-After`` header; `otherwise_s` if it is missing or a date."""
    value = answer.headers.get("Retry-After", "")
    return float(value) if value.isdecimal() else otherwise_s


def text_of(push: Any) -> str:
    """Text of the post about the summary of a push, in Markdown; raises `ValueError` if it is none."""
    match push:
        case {"Repo": str(repo), "Branch": str(branch), "SHA": str(sha), "Who": str(who)}:
            repo, branch, sha, who = map(plain, (repo, branch, sha, who))
        case _:
            raise ValueError("the message is not the summary of a push")
    if not sha.strip("0"):
        return f"{who} deleted `{branch}` of {repo}"
    return f"{who} pushed [`{sha[:7]}`](https://github.com/{repo}/commit/{sha}) to `{branch}` of {repo}"


def plain(text: str) -> str:
    """Text without backticks and mentions: Mattermost would render code, or notify a whole channel."""
    return text.replace("`", "'").replace("@", "(at)")
