"""URLs that people type or configure: split, and refused without being shown, since they may contain a token."""

import re
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit, urlunsplit

from ..errors import Refused
from .pasted import trim, unquote, unseen_in

# RFC 3986, section 3.2.2. A browser would take a backslash for a slash.
_HOST = re.compile(r"[-.:%!$&'()*+,;=~\w]*", re.ASCII)
_NUMBERS = re.compile(r"[0-9]+(\.[0-9]+){3}")


def split_url(url: str) -> SplitResult:
    """Parts of a URL, without the white space, quotation marks or ``<>`` around it, and without line ends within it.

    Raises `Refused` if its host or port is malformed, or its credentials have a character that cannot be seen.
    """
    try:
        # It drops tabs and line ends, as RFC 3986, appendix C, has it for URLs in text.
        parts = urlsplit(unquote(trim(url)))
        encode_host(parts.hostname or "", parts.port)
        if parts.port == 0:
            raise ValueError("there is no port 0")
    # Python's reason is not shown either: it quotes parts of the URL.
    except ValueError:
        raise Refused("the URL is malformed: its host or its port is invalid") from None
    if unseen := unseen_in(parts.netloc.rpartition("@")[0], allowed=""):
        raise Refused(f"the token in the URL contains {unseen}: remove it")
    return parts


def without_secrets(url: str) -> str:
    """A URL for messages: without credentials, query and fragment, and cut to 200 characters."""
    try:
        parts = split_url(url)
    except Refused:
        return "the URL"
    host, path = parts.netloc.rpartition("@")[2], parts.path
    # Without a scheme, there is no host, and what stands before it begins the path.
    return urlunsplit((parts.scheme, host, path if host else path.rpartition("@")[2], "", ""))[:200]


def is_loopback(host: str) -> bool:
    """True if the host is ``localhost`` or a loopback address."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def ascii_host(host: str) -> str:
    """Host in ASCII (RFC 3490), as it is connected to. Raises `ValueError` if it is malformed."""
    encoded = host if ":" in host else host.encode("idna").decode("ascii")
    if not _HOST.fullmatch(encoded):
        raise ValueError("a host has no such characters")
    if ":" in host or _NUMBERS.fullmatch(encoded):
        ip_address(host)
    return encoded


def encode_host(host: str, port: int | None = None) -> str:
    """Host in ASCII as it stands in a URL, and the port unless it is None. Raises `ValueError` like `ascii_host`."""
    encoded = f"[{ascii_host(host)}]" if ":" in host else ascii_host(host)
    return encoded if port is None else f"{encoded}:{port}"
