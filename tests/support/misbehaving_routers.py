"""Routers that copy what they read, and ones that do something bad first."""

import trio


class Copy:
    """Publishes what it reads on `copy`."""

    name = "copy"
    topics = ("in/",)

    async def route(self, message, publish):
        await publish("copy", message)


class Misbehaving(Copy):
    """Does something else first, for bodies that say `bad`."""

    def __init__(self, how, times=1000):
        self.how = how
        self.times = times

    async def route(self, message, publish):
        if message.body == b"bad" and self.times:
            self.times -= 1
            await self.how(publish)
        await publish("copy", message)


async def raise_error(publish):
    await publish("copy", b"half done")
    raise OSError("no such luck")


async def hang(publish):
    await trio.sleep_forever()
