"""Sample deliveries: requests as the sender of a source would make them, signed by the hub with the source's secret."""

from urllib.parse import quote, urlsplit
from uuid import uuid4

from ..errors import BadSignature, ConfigError, Refused
from ..protocol.paths import path_to
from ..protocol.request import Request
from ..protocol.topics import is_subtree
from ..signatures import SignedRequest
from ..signatures.samples import TEST, sample
from .sources import Source

# Where a source does not say how its sender sees the hub, any host does.
_BASE = "http://localhost"


def sample_topic(topic: str) -> str:
    """The topic of a sample for a source's topic: itself, or one beneath it."""
    return f"{topic}hookbot-test" if is_subtree(topic) else topic


def sign_sample(source: Source, topic: str, *, event: str = TEST, now_s: float) -> SignedRequest:
    """A delivery of an event to a topic of the source, which is new each time.

    Raises `Refused` if the event is unknown, or nobody but the sender can sign it.
    """
    url = (source.url or _BASE) + quote(path_to("publish", topic))
    made = sample(source.provider, event, id=f"hookbot-test-{uuid4()}", now_s=now_s, owners=source.owners)
    try:
        signed = source.provider.sign(made.request(source.provider, url), source.secrets[0], now=now_s)
        # With a public key, some sign as well, but what they make proves nothing.
        source.provider.verify(signed, source.secrets, now=now_s)
    except (BadSignature, ConfigError):
        raise Refused(
            f"a delivery of {source.provider.name} cannot be signed here: only its sender has the key"
        ) from None
    return signed


def request_of(signed: SignedRequest, client: str) -> Request:
    """The request that a sender at an address makes of a signed delivery."""
    scheme, host, *_ = urlsplit(signed.url)
    target = signed.url.removeprefix(f"{scheme}://{host}").encode()
    headers = (("Host", host), *signed.headers, ("Content-Length", str(len(signed.body))))
    return Request(signed.method, target, headers, client, scheme == "https")
