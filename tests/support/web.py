"""Pages of the internet that a hub fetches: a certificate, or the confirmation of a subscription."""

import trio

from hookbot.errors import Unavailable


class Web:
    """Pages by address, and the addresses that were asked for."""

    def __init__(self, pages: dict[str, bytes]) -> None:
        self.pages = pages
        self.asked: list[str] = []

    async def fetch(self, url: str) -> bytes:
        """The page at an address. Raises `Unavailable` if there is none."""
        await trio.lowlevel.checkpoint()
        self.asked.append(url)
        if url not in self.pages:
            raise Unavailable(f"{url} cannot be fetched")
        return self.pages[url]
