"""Byte streams to a host: through a proxy if the environment sets one, and with TLS if the URL is https or wss."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.request import getproxies, proxy_bypass

import h11
import trio

from ..errors import ConfigError, HookbotError, Lost, Refused, innermost_error, system_reason
from ..protocol.pasted import check_unmarked, trim, unquote
from ..protocol.urls import encode_host, is_loopback
from .address import Address

# What OpenSSL says of an answer that is no TLS: to its versions before 3.2, it has a wrong version or length.
_NO_TLS = frozenset({"WRONG_VERSION_NUMBER", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL"})
# Limit of an additional connection, made only to find out whether a server speaks TLS.
_PROBE_S = 2.0

# How errors call a proxy, so that its failures are not taken for those of the server behind it.
PROXY = "the proxy "


def proxy_of(address: Address) -> Address | None:
    """Proxy for this address according to ``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY`` and ``NO_PROXY``, or None.

    If no such variable is set, the system settings of macOS or Windows apply. Raises `ConfigError` if the proxy's URL
    is malformed, or neither http nor https.
    """
    proxies = getproxies()
    url = unquote(trim(proxies.get("https" if address.secure else "http") or proxies.get("all") or ""))
    if not url or proxy_bypass(address.host if ":" in address.host else f"{address.host}:{address.port}"):
        return None
    if "://" in url and not url.lower().startswith(("http://", "https://")):
        raise ConfigError(f"a proxy must be http:// or https://, not {url.split('://')[0]}://")
    # curl accepts a proxy without a scheme, too, so such values are common.
    try:
        return Address.parse(url if "://" in url else f"http://{url}")
    except Refused as error:
        raise ConfigError(f"the proxy that the environment names cannot be used: {error}") from None


def proxy_unless_local(address: Address) -> Address | None:
    """As `proxy_of`, but None for this machine: a proxy could not reach it, and NO_PROXY is rarely set for it."""
    return None if is_loopback(address.host) else proxy_of(address)


def tls_context(ca_file: str | Path | None = None) -> ssl.SSLContext:
    """TLS context that trusts the authorities in `ca_file` (PEM), or the system's without one.

    Raises `ConfigError` if the file cannot be read.
    """
    try:
        if ca_file is not None:
            check_unmarked(Path(ca_file))
        return ssl.create_default_context(cafile=ca_file)
    # Also OpenSSL's errors, which are OSErrors.
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read the CA file {str(ca_file)!r}: {system_reason(error)}") from None


async def open_stream(
    address: Address, proxy: Address | None, tls: ssl.SSLContext, timeout_s: float, *, role: str = ""
) -> trio.abc.Stream:
    """Connect, through a proxy unless it is None, and return the stream. Cancelling leaves nothing open.

    Raises `Lost`, which names the host that failed, with its `role`: for a proxy, ``"the proxy "``, and `Refused` if it
    does not speak TLS, though its scheme says so. `timeout_s` limits the way to the proxy, the way from there, and TLS,
    each.
    """
    stream = await open_unsecured(address, proxy, tls, timeout_s, role=role)
    if not address.secure:
        return stream
    async with _closed_on_failure(stream, f"{role}{address.netloc}", timeout_s):
        secured = trio.SSLStream(stream, tls, server_hostname=address.host, https_compatible=True)
        try:
            await secured.do_handshake()
        except (trio.BrokenResourceError, ssl.SSLError, ssl.CertificateError) as error:
            raise await failure(f"the TLS handshake with {role}{address.netloc} failed", error, address) from None
        return secured


async def open_unsecured(
    address: Address, proxy: Address | None, tls: ssl.SSLContext, timeout_s: float, *, role: str = ""
) -> trio.abc.Stream:
    """Connect as `open_stream` does, but without TLS to `address`; `tls` is for the proxy."""
    if proxy is None:
        return await _open_tcp(address, f"{role}{address.netloc}", timeout_s)
    stream = await open_stream(proxy, None, tls, timeout_s, role=PROXY)
    async with _closed_on_failure(stream, f"{PROXY}{proxy.netloc}", timeout_s):
        await _ask_proxy(stream, proxy, address)
        return stream


async def _open_tcp(address: Address, name: str, timeout_s: float) -> trio.abc.Stream:
    try:
        with trio.fail_after(timeout_s):
            return await trio.open_tcp_stream(address.host, address.port)
    except OSError as error:
        raise Lost(f"cannot connect to {name}: {reason_of(error)}") from None
    except trio.TooSlowError:
        raise Lost(f"cannot connect to {name}: no response within {timeout_s:g} s") from None


@asynccontextmanager
async def _closed_on_failure(stream: trio.abc.Stream, name: str, timeout_s: float) -> AsyncIterator[None]:
    """Close the stream if the body fails, or takes longer than `timeout_s`, which raises `Lost`."""
    try:
        with trio.fail_after(timeout_s):
            yield
    except trio.TooSlowError:
        await trio.aclose_forcefully(stream)
        raise Lost(f"no response from {name} within {timeout_s:g} s") from None
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise


async def _ask_proxy(stream: trio.abc.Stream, proxy: Address, address: Address) -> None:
    """Ask the proxy for a tunnel with CONNECT (RFC 9110, section 9.3.6)."""
    authority = encode_host(address.host, address.port)
    headers = [("Host", authority), *proxy.authorization_header("Proxy-Authorization")]
    http = h11.Connection(h11.CLIENT)
    event: object = h11.NEED_DATA
    try:
        await stream.send_all(http.send(h11.Request(method="CONNECT", target=authority, headers=headers)) or b"")
        # Informational responses come before the one that counts (RFC 9110, section 15.2).
        while event is h11.NEED_DATA or isinstance(event, h11.InformationalResponse):
            if (event := http.next_event()) is h11.NEED_DATA:
                if not (data := await stream.receive_some()):
                    raise trio.BrokenResourceError
                http.receive_data(bytes(data))
    except trio.BrokenResourceError as error:
        raise Lost(f"{PROXY}{proxy.netloc} gave no response: {reason_of(error)}") from None
    except h11.RemoteProtocolError:
        raise Lost(f"{PROXY}{proxy.netloc} gave no valid response: does this port speak HTTP?") from None
    if not isinstance(event, h11.Response) or event.status_code >= 300:
        status = getattr(event, "status_code", "nothing")
        raise Lost(f"{PROXY}{proxy.netloc} refused to connect to {authority}: it answered {status}")


async def failure(what: str, error: BaseException, address: Address) -> HookbotError:
    """The error for a connection to `address` that was made and failed.

    `Refused` if the other side speaks TLS and the scheme does not say so, or the other way round, since that would fail
    for ever; otherwise `Lost`.
    """
    if isinstance(innermost_error(error), HookbotError):
        return Lost(f"{what}: {reason_of(error)}")
    if address.secure and getattr(innermost_error(error), "reason", None) in _NO_TLS:
        return Refused(f"{what}: {address.netloc} does not speak TLS; use http:// or ws://")
    if not address.secure and await _speaks_tls(address):
        return Refused(f"{what}: {address.netloc} speaks TLS; use https:// or wss://")
    return Lost(f"{what}: {reason_of(error)}")


async def _speaks_tls(address: Address) -> bool:
    """True if the server answers a TLS handshake, even with a refusal. Most TLS servers answer nothing else."""
    anybody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Nothing is sent that would need protection.
    anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
    with trio.move_on_after(_PROBE_S):
        try:
            stream = await open_unsecured(address, proxy_unless_local(address), anybody, _PROBE_S)
        except HookbotError:
            return False
        try:
            await trio.SSLStream(stream, anybody, server_hostname=address.host).do_handshake()
        except trio.BrokenResourceError as error:
            # Not the innermost error, which may be the failure that made us ask.
            return "ALERT" in (getattr(error.__cause__, "reason", None) or "")
        finally:
            await trio.aclose_forcefully(stream)
        return True
    return False


def reason_of(error: BaseException) -> str:
    """Innermost reason of a failed connection, in the words of the operating system, of OpenSSL or of `open_stream`."""
    error = innermost_error(error)
    if isinstance(error, HookbotError):
        return str(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not valid: {error.verify_message}"
    # OpenSSL calls it a violation of the protocol.
    if isinstance(error, ssl.SSLEOFError):
        return "the connection was cut"
    return system_reason(error) or "the connection was cut"
