"""TLS: client certificates, with whole hubs over HTTP/1.1 and HTTP/2; the files that make a context; sockets."""

import select
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from socket import SHUT_WR, SO_SNDBUF, SOL_SOCKET, socket, socketpair
from typing import Any

import httpx
import pytest
import trio
import trustme
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from cryptography.x509 import load_pem_x509_certificate

from hookbot.errors import ConfigError
from hookbot.signatures import SignedRequest, load_provider
from hookbot.web import tls as tls_module
from hookbot.web.tls import RECORD_BYTES, Tls, TlsSocket, make_context
from support import GUARD_S, SECRET
from support.hubs import WholeHub, configured, open_whole_hub
from support.tls import CLIENTS, HUB, client_context, hub_context

UNKNOWN = trustme.CA()
ROBOT = CLIENTS.issue_cert("robot.example", common_name="robot")
OTHER = CLIENTS.issue_cert("other.example", common_name="other")
FORGER = UNKNOWN.issue_cert("robot.example", common_name="robot")


def certificate_of(issued: trustme.LeafCert) -> Any:
    return load_pem_x509_certificate(issued.cert_chain_pems[0].bytes())


def told_by(issued: trustme.LeafCert) -> dict[str, str]:
    """The two ways to name a certificate: fingerprint and subject."""
    certificate = certificate_of(issued)
    return {
        "fingerprint": sha256(certificate.public_bytes(Encoding.DER)).hexdigest(),
        "subject": certificate.subject.rfc4514_string(),
    }


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Any]:
    issued = HUB.issue_cert("127.0.0.1")
    issued.private_key_and_cert_chain_pem.write_to_path(tmp_path / "hub.pem")
    CLIENTS.cert_pem.write_to_path(tmp_path / "clients.pem")
    return {
        "tls_certificate": tmp_path / "hub.pem",
        "tls_key": tmp_path / "hub.pem",
        "tls_client_authorities": tmp_path / "clients.pem",
    }


def section(*certificates: Any) -> str:
    source = f'topic = "/unsafe/acme/"\nprovider = "github"\nsecrets = ["{SECRET}"]'
    return f"[[sources]]\n{source}\ncertificates = {list(certificates)}\n"


def deliver(
    hub: WholeHub, shown: trustme.LeafCert | None, path: str = "/unsafe/pub/acme/x", *, http2: bool = False
) -> httpx.Response:
    """Post a signed delivery from a thread; its answer."""
    context = ssl.create_default_context()
    HUB.configure_trust(context)
    if shown:
        shown.configure_cert(context)
    signed = load_provider("github").sign(SignedRequest(b"{}"), SECRET, now=0)
    with httpx.Client(base_url=hub.running.url, verify=context, http2=http2) as client:
        answer = client.post(path, content=b"{}", headers=dict(signed.headers))
        assert answer.http_version == ("HTTP/2" if http2 else "HTTP/1.1")
        return answer


async def asked(*args: Any, **options: Any) -> httpx.Response:
    return await trio.to_thread.run_sync(lambda: deliver(*args, **options))


@pytest.mark.slow
@pytest.mark.parametrize("http2", [False, True])
@pytest.mark.parametrize("how", ["fingerprint", "subject"])
async def test_a_source_takes_what_comes_with_a_certificate_that_it_knows(
    tmp_path: Path, files: dict[str, Any], how: str, http2: bool
) -> None:
    async with open_whole_hub(tmp_path, section("CN=nobody", told_by(ROBOT)[how]), **files) as hub:
        assert (await asked(hub, ROBOT, http2=http2)).status_code == 200
        for shown, needed in ((None, "a"), (OTHER, "another")):
            answer = await asked(hub, shown, http2=http2)
            assert (answer.status_code, answer.text) == (403, f"publishing here takes {needed} client certificate\n")
        assert hub.head == 1


async def test_a_certificate_does_not_stand_in_for_a_signature(tmp_path: Path, files: dict[str, Any]) -> None:
    async with open_whole_hub(tmp_path, section(told_by(ROBOT)["subject"]).replace(SECRET, "another"), **files) as hub:
        assert (await asked(hub, ROBOT)).status_code == 401
        assert hub.head == 0


async def test_nobody_else_is_asked_for_a_certificate(tmp_path: Path, files: dict[str, Any]) -> None:
    async with open_whole_hub(tmp_path, section(told_by(ROBOT)["subject"]), **files) as hub:
        for shown in (None, OTHER):
            assert (await asked(hub, shown, "/unsafe/pub/elsewhere")).status_code == 200


async def test_a_certificate_of_another_authority_is_none(tmp_path: Path, files: dict[str, Any]) -> None:
    assert told_by(FORGER)["subject"].startswith("CN=robot")
    async with open_whole_hub(tmp_path, section(told_by(FORGER)["fingerprint"]), **files) as hub:
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
            await asked(hub, FORGER)
        assert hub.head == 0
        assert (await asked(hub, ROBOT)).status_code == 403


async def test_a_certificate_that_nobody_asks_for_would_admit_nobody(tmp_path: Path, files: dict[str, Any]) -> None:
    del files["tls_client_authorities"]
    with pytest.raises(ConfigError, match="--sslca"):
        async with open_whole_hub(tmp_path, section("CN=robot"), **files):
            """Never reached."""


async def test_a_secure_hub_knows_its_own_scheme(tmp_path: Path, files: dict[str, Any]) -> None:
    text = f'[[sources]]\ntopic = "/unsafe/acme/"\nprovider = "square"\nsecrets = ["{SECRET}"]\n'
    context = ssl.create_default_context()
    HUB.configure_trust(context)
    async with open_whole_hub(tmp_path, text, client={"verify": context}, **files) as hub:
        assert hub.running.url.startswith("https://")
        assert (await hub.deliver("square", "/unsafe/pub/acme/x", b'{"event_id": "1"}')).status_code == 200


@pytest.mark.parametrize(
    "given",
    [
        {"tls_certificate": "hub.pem"},
        {"tls_key": "hub.pem"},
        {"tls_client_authorities": "hub.pem"},
        {"tls_certificate": "hub.pem", "tls_client_authorities": "clients.pem"},
        {"tls_certificate": "clients.pem", "tls_key": "clients.pem"},
        {"tls_certificate": "hub.pem", "tls_key": "nothing"},
        {"tls_certificate": "hub.pem", "tls_key": "hub.pem", "tls_client_authorities": "nothing"},
        {"tls_certificate": "hub.pem", "tls_key": "hub.pem", "tls_client_authorities": "empty"},
        {"tls_certificate": "hub.pem", "tls_key": "hub.pem", "tls_client_authorities": "marked"},
    ],
)
def test_files_that_make_no_tls_are_refused(tmp_path: Path, files: dict[str, Any], given: dict[str, str]) -> None:
    (tmp_path / "empty").touch()
    # OpenSSL would take the second authority and skip the first.
    (tmp_path / "marked").write_bytes(b"\xef\xbb\xbf" + (tmp_path / "clients.pem").read_bytes() * 2)
    paths: dict[str, Any] = {name: tmp_path / file for name, file in given.items()}
    config = configured(tmp_path, **paths)
    with pytest.raises(ConfigError):
        make_context(config.tls_certificate, config.tls_key, config.tls_client_authorities)


def test_without_files_there_is_no_tls() -> None:
    assert make_context(None, None, None) is None


def test_clients_are_asked_for_a_certificate_only_if_there_is_an_authority_for_them(files: dict[str, Any]) -> None:
    without = make_context(files["tls_certificate"], files["tls_key"], None)
    context = make_context(*files.values())

    assert without
    assert context
    assert (without.verify_mode, context.verify_mode) == (ssl.CERT_NONE, ssl.CERT_OPTIONAL)


def test_a_key_with_a_password_is_refused_and_nobody_is_asked_for_it(tmp_path: Path, files: dict[str, Any]) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    locked = tmp_path / "locked.pem"
    locked.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"password")))

    with pytest.raises(ConfigError, match="the key is encrypted"):
        make_context(files["tls_certificate"], locked, None)


# --- sockets


@pytest.fixture
def pair() -> Iterator[tuple[TlsSocket, ssl.SSLSocket]]:
    """Our socket and the client's, both non-blocking, after the handshake."""
    sock, other = socketpair()
    for end in (sock, other):
        end.setblocking(False)
        end.setsockopt(SOL_SOCKET, SO_SNDBUF, 4096)
    ours = Tls(hub_context()).wrap(sock)
    with ours, client_context().wrap_socket(other, server_hostname="hub", do_handshake_on_connect=False) as client:
        unfinished: list[ssl.SSLSocket | TlsSocket] = [client, ours]
        while unfinished:
            for end in tuple(unfinished):
                with suppress(ssl.SSLWantReadError):
                    end.do_handshake()
                    unfinished.remove(end)
        yield ours, client


def received(client: ssl.SSLSocket, size: int = RECORD_BYTES) -> bytes:
    """What one record brings; nothing if there is none, or not the whole of it."""
    try:
        return client.recv(size)
    except ssl.SSLWantReadError:
        return b""


def test_a_part_of_a_record_is_pending_until_it_is_received(pair: tuple[TlsSocket, ssl.SSLSocket]) -> None:
    ours, client = pair
    client.send(b"hello")

    assert (ours.recv(2), ours.pending()) == (b"he", True)
    assert (ours.recv(), ours.pending()) == (b"llo", False)


def test_records_that_came_together_are_pending_one_after_the_other(pair: tuple[TlsSocket, ssl.SSLSocket]) -> None:
    ours, client = pair
    client.send(b"one")
    client.send(b"two")

    assert (ours.recv(), ours.pending()) == (b"one", True)
    assert (ours.recv(), ours.pending()) == (b"two", False)


def test_a_client_whose_tls_carries_nothing_is_not_decrypted_for_ever(
    pair: tuple[TlsSocket, ssl.SSLSocket], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, client = pair
    monkeypatch.setattr(tls_module, "FEED_BYTES", 100)
    monkeypatch.setattr(tls_module, "SILENT_BYTES", 1000)
    # Two records of which the second is, so far, as empty as any number of requests for new keys.
    client.send(b"x")
    assert ours.recv() == b"x"
    client.send(bytes(2000))

    for _ in range(10):
        with pytest.raises(BlockingIOError):
            ours.recv()
    with pytest.raises(ConnectionAbortedError, match="carries nothing"):
        ours.recv()


def test_a_socket_with_nothing_to_receive_would_block(pair: tuple[TlsSocket, ssl.SSLSocket]) -> None:
    with pytest.raises(BlockingIOError):
        pair[0].recv()


@pytest.mark.parametrize("size", [0, 1, RECORD_BYTES - 5, RECORD_BYTES - 4, RECORD_BYTES, 10 * RECORD_BYTES + 1])
@pytest.mark.parametrize("header", [b"", b"head", bytes(RECORD_BYTES + 1)])
def test_what_is_sent_arrives_in_order_however_little_the_socket_takes(
    pair: tuple[TlsSocket, ssl.SSLSocket], header: bytes, size: int
) -> None:
    ours, client = pair
    data = bytes(n * 7 % 251 for n in range(size))
    whole = memoryview(header + data)
    arrived = bytearray()

    try:
        sent = ours.sendmsg((header, memoryview(data)))
    except BlockingIOError:
        sent = 0
    while sent < len(whole):
        arrived += received(client)
        with suppress(BlockingIOError):
            sent += ours.send(whole[sent:])
    while more := received(client):
        arrived += more

    assert arrived == whole


def test_sending_nothing_sends_nothing(pair: tuple[TlsSocket, ssl.SSLSocket]) -> None:
    ours, client = pair

    assert ours.send(b"") == 0
    assert received(client) == b""


def fill(ours: TlsSocket) -> int:
    """Send until the socket takes no more; the number of bytes that were sent."""
    sent = 0
    with suppress(BlockingIOError):
        while True:
            sent += ours.send(bytes(RECORD_BYTES))
    return sent


def test_a_socket_that_takes_nothing_would_block(pair: tuple[TlsSocket, ssl.SSLSocket]) -> None:
    fill(pair[0])
    with pytest.raises(BlockingIOError):
        pair[0].send(bytes(RECORD_BYTES))


def test_a_half_close_while_a_record_waits_puts_nothing_into_it(pair: tuple[TlsSocket, ssl.SSLSocket]) -> None:
    ours, client = pair
    sent = fill(ours)
    ours.shutdown(SHUT_WR)

    arrived = bytearray()
    while more := client.recv(RECORD_BYTES):
        arrived += more
    assert arrived == bytes(sent)


def test_a_client_that_closes_its_side_without_a_notification_is_still_answered(
    pair: tuple[TlsSocket, ssl.SSLSocket],
) -> None:
    ours, client = pair
    client.send(b"question")
    socket.shutdown(client, SHUT_WR)

    assert [ours.recv(), ours.recv()] == [b"question", b""]
    ours.send(b"answer")
    assert received(client) == b"answer"


def finish_handshake(ours: TlsSocket) -> None:
    with suppress(ssl.SSLWantReadError):
        ours.do_handshake()
        return
    select.select([ours], [], [], GUARD_S)
    finish_handshake(ours)


def test_a_session_is_resumed_also_by_another_connection() -> None:
    tls, context = Tls(hub_context()), client_context()
    session = None
    reused = []
    for _ in range(2):
        sock, other = socketpair()
        with tls.wrap(sock) as ours, ThreadPoolExecutor() as pool:
            handshake = pool.submit(finish_handshake, ours)
            with context.wrap_socket(other, server_hostname="hub", session=session) as client:
                handshake.result()
                ours.send(b"x")
                # The ticket comes before it.
                client.recv(1)
                session = client.session
                reused.append(client.session_reused)

    assert reused == [False, True]


def test_it_is_known_when_the_first_certificate_of_the_chain_expires() -> None:
    authority, later = trustme.CA(), datetime.now(tz=UTC).replace(microsecond=0) + timedelta(days=30)
    issued = authority.issue_cert("hub", not_after=later)
    chain = b"".join(pem.bytes() for pem in (*issued.cert_chain_pems, authority.cert_pem))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls = Tls(context)
    assert tls.expires_s == 0

    tls.adopt(Tls(context, chain))
    assert tls.expires_s == later.timestamp()


def test_it_is_not_known_when_a_certificate_expires_that_only_openssl_reads(tmp_path: Path) -> None:
    issued = trustme.CA().issue_cert("hub")
    trusted = issued.cert_chain_pems[0].bytes().replace(b" CERTIFICATE", b" TRUSTED CERTIFICATE")
    (tmp_path / "crt.pem").write_bytes(trusted)
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    context = make_context(tmp_path / "crt.pem", tmp_path / "key.pem", None)
    assert context

    assert Tls(context, trusted).expires_s == 0
