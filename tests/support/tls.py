"""TLS for tests: a hub called ``hub`` with its certificate, and clients that trust it."""

import ssl
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import trustme

from hookbot.web.tls import make_context

ENCRYPTED: ContextVar[bool] = ContextVar("ENCRYPTED", default=False)
"""True in a test whose connections to the fast path are encrypted."""

HUB = trustme.CA()
CLIENTS = trustme.CA()
"""The authority of client certificates."""


@cache
def _issued(*names: str) -> trustme.LeafCert:
    return HUB.issue_cert(*names)


def hub_context(*names: str, clients: bool = False) -> ssl.SSLContext:
    """A hub's context, also for more names; clients may present a certificate if there is an authority for them."""
    with TemporaryDirectory() as directory:
        certificate, authorities = Path(directory, "hub.pem"), Path(directory, "clients.pem")
        _issued("hub", *names).private_key_and_cert_chain_pem.write_to_path(certificate)
        CLIENTS.cert_pem.write_to_path(authorities)
        context = make_context(certificate, certificate, authorities if clients else None)
    assert context
    return context


def client_context(*, alpn: str = "http/1.1", certificate: trustme.LeafCert | None = None) -> ssl.SSLContext:
    """A client's context, with a certificate if one is given."""
    # Without the authorities of this machine, which take 50 ms to load.
    context = ssl.create_default_context(cadata=HUB.cert_pem.bytes().decode())
    context.set_alpn_protocols([alpn])
    if certificate:
        certificate.configure_cert(context)
    return context
