"""The public URL of a hub: as its operator says, or else as the request names it."""

from ...access.control import AccessControl
from ...protocol.http1 import HOST
from ...protocol.request import Request


def public_url(access: AccessControl, plain: Request) -> str:
    """URL of the hub for senders and browsers, without a slash at the end; empty if nothing names it."""
    if access.public_url:
        return access.public_url
    host = plain.header("host")
    scheme = "https" if is_https(access, plain) else "http"
    return f"{scheme}://{host}" if HOST.fullmatch(host) else ""


def is_https(access: AccessControl, plain: Request) -> bool:
    """True if the client's connection is encrypted, to the hub or to a proxy that says so.

    Anybody may say so: a cookie is then only given back over TLS, and a URL is what its client reads.
    """
    said = plain.header("x-forwarded-proto").lower() == "https"
    return plain.secure or said or access.public_url.startswith("https:")
