"""Samples: events as the senders of a provider tell them, for tests of whoever receives them.

now = sample(provider, "invoice.paid", id=str(uuid4()), now_s=time())
request = now.with_value("data.object.amount_paid", 1200).request(provider, url)
signed = provider.sign(request, secret, now=time())

`event_names` lists the events of a provider; each has `TEST`, which says that it is a test of the hub. The events are
files in this folder, read when they are asked for, in which `events` replaces ids and times by new ones. A `Sample` can
be changed before it becomes a request (`sample`, `paths`). The hub tests its sources with samples, ``hookbot trigger``
posts them, and `hookbot.testing` makes deliveries of them.
"""

from .events import HANDSHAKES, TEST, check_event, event_names, sample
from .sample import Sample

__all__ = ["HANDSHAKES", "TEST", "Sample", "check_event", "event_names", "sample"]
