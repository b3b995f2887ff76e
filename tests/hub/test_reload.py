"""Reload of a running hub at SIGHUP: keys, secrets, sources, limits, certificates; all of them or none."""

import logging
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509 import load_pem_x509_certificate

from hookbot.access.narrowed_tokens import NarrowedToken
from hookbot.access.rate_limits import Rate
from hookbot.access.tokens import make_token
from hookbot.alerts.watching import Alerts
from hookbot.broker.broker import open_broker
from hookbot.broker.consumers import open_consumers
from hookbot.errors import ConfigError
from hookbot.hub import reload as reloading
from hookbot.hub.config import Config
from hookbot.hub.digests import configuration_digests
from hookbot.hub.secret_store import StoredSecret
from hookbot.log.duties import SoleDuties, differing
from hookbot.log.memory import MemoryLog
from hookbot.log.retention import Retention
from hookbot.signatures import SignedRequest, load_provider
from support import KEY, SECRET
from support.api import audited
from support.clients import WebSocket, connect
from support.commands import starting
from support.hubs import FORMATS, HubProcess, configured, no_groups, open_whole_hub

OLD_KEY = "an older key"


def github(secret: str, topic: str = "/unsafe/acme/", **options: Any) -> str:
    lines = "".join(f"{key} = {value}\n" for key, value in options.items())
    return f'[[sources]]\ntopic = "{topic}"\nprovider = "github"\nsecrets = ["{secret}"]\n{lines}'


def named(name: str) -> str:
    return str(NarrowedToken.of(make_token(KEY, "/"), "/").narrow("name", name))


# --- in this process


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMATS)
async def test_removing_a_key_ends_the_subscriptions_made_with_its_tokens(
    tmp_path: Path, ways: dict[str, Any], form: str
) -> None:
    async with open_whole_hub(tmp_path, old_keys=(OLD_KEY,), **ways) as hub:
        old, new = make_token(OLD_KEY, "/sub/x"), make_token(KEY, "/sub/x")
        async with hub.listen("/sub/x", form, old) as ending, hub.listen("/sub/x", form, new) as staying:
            await hub.running.reload(lambda: configured(tmp_path, **ways))
            assert await ending.closed() == (None if form in ("sse", "jsonl") else 1008)
            await hub.post("/pub/x", b"still here", token=make_token(KEY, "/pub/x"))
            assert await staying.take()
        async with hub.listen("/sub/x", form, old) as again:
            assert again.status == 401


async def test_a_new_key_is_good_at_once_and_the_old_one_for_as_long_as_it_is_listed(
    tmp_path: Path, ways: dict[str, Any]
) -> None:
    old = make_token(OLD_KEY, "/sub/x")
    async with (
        open_whole_hub(tmp_path, key=StoredSecret(OLD_KEY), **ways) as hub,
        hub.listen("/sub/x", "raw", old) as listener,
    ):
        await hub.running.reload(lambda: configured(tmp_path, key=StoredSecret(KEY), old_keys=(OLD_KEY,), **ways))
        for key in (KEY, OLD_KEY):
            answer = await hub.post("/pub/x", key.encode(), token=make_token(key, "/pub/x"))
            assert answer.status_code == 200
            assert await listener.take() == key.encode()


async def test_a_revoked_name_ends_its_subscriptions(
    tmp_path: Path, ways: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    async with open_whole_hub(tmp_path, **ways) as hub:
        async with hub.listen("/sub/x", "raw", named("ann")) as ann, hub.listen("/sub/x", "raw", named("bob")) as bob:
            await hub.running.reload(lambda: configured(tmp_path, revoked=frozenset({"ann"}), **ways))
            assert await ann.closed() == 1008
            await hub.post("/pub/x", b"1", token=make_token(KEY, "/pub/x"))
            assert await bob.take() == b"1"
        assert (await hub.post("/pub/x", b"", token=named("ann"))).status_code == 401
    assert audited(caplog) == [("the configuration was reloaded", {"by": "SIGHUP", "revoked": "ann"})]


async def test_the_ancestors_tokens_end_when_they_are_refused(tmp_path: Path, ways: dict[str, Any]) -> None:
    async with open_whole_hub(tmp_path, **ways) as hub, hub.listen("/sub/x", "raw") as listener:
        await hub.running.reload(lambda: configured(tmp_path, sha1_tokens=False, **ways))
        assert await listener.closed() == 1008


async def test_who_waits_for_a_cursor_does_not_get_it_by_a_token_that_has_ended(
    tmp_path: Path, ways: dict[str, Any]
) -> None:
    path = "/sub/x?cursor=deploy"
    headers = [("Authorization", f"Bearer {make_token(OLD_KEY, '/sub/x')}")]
    async with open_whole_hub(tmp_path, old_keys=(OLD_KEY,), **ways) as hub, await connect(hub.port) as client:
        async with hub.listen(path, "v1"):
            waiting = WebSocket(client, path, "hookbot.v1", headers=headers)
            await waiting.ask()
            await waiting.accepted()
            await hub.running.reload(lambda: configured(tmp_path, **ways))
            await hub.post("/pub/x", b"not for you", token=make_token(KEY, "/pub/x"))
        await waiting.take()  # hello, or its end
        assert await waiting.take() is None
        assert await waiting.closed() == 1008


async def test_sources_and_their_secrets_are_replaced(tmp_path: Path, ways: dict[str, Any]) -> None:
    async with open_whole_hub(tmp_path, github("old secret"), **ways) as hub:
        assert (await hub.deliver("github", "/unsafe/pub/acme/x", secret="old secret")).status_code == 200
        await hub.running.reload(lambda: configured(tmp_path, github(SECRET) + github(SECRET, "/unsafe/more/"), **ways))
        for topic in ("acme", "more"):
            for secret, status in (("old secret", 401), (SECRET, 200)):
                answer = await hub.deliver("github", f"/unsafe/pub/{topic}/x", secret=secret)
                assert answer.status_code == status


async def test_limits_are_replaced(tmp_path: Path, ways: dict[str, Any]) -> None:
    async with open_whole_hub(tmp_path, **ways) as hub, hub.listen("/sub/x", "raw"):
        await hub.running.reload(
            lambda: configured(
                tmp_path,
                max_subscribers=1,
                publish_rate=Rate(1, 3600),
                unsafe_prefixes=("acme/",),
                cors_origins=("https://pages.example",),
                **ways,
            )
        )
        async with hub.listen("/sub/x", "raw") as second:
            assert second.status == 429
        statuses = [
            (await hub.post(path)).status_code for path in ("/unsafe/pub/x", "/unsafe/pub/acme/x", "/unsafe/pub/acme/x")
        ]
        assert statuses == [404, 200, 429]
        answer = await hub.http.get("/status", headers={"Origin": "https://pages.example"})
        assert answer.headers["Access-Control-Allow-Origin"] == "https://pages.example"


@pytest.mark.parametrize("wrong", ["source", "tls"])
async def test_what_is_broken_changes_nothing(tmp_path: Path, ways: dict[str, Any], wrong: str) -> None:
    async with open_whole_hub(tmp_path, github(SECRET), **ways) as hub:
        broken = {
            "source": lambda: configured(tmp_path, github("env:NOBODY"), key=StoredSecret("new"), **ways),
            "tls": lambda: configured(tmp_path, key=StoredSecret("new"), tls_certificate=tmp_path / "nothing", **ways),
        }
        with pytest.raises(ConfigError):
            await hub.running.reload(broken[wrong])
        assert (await hub.deliver("github", "/unsafe/pub/acme/x")).status_code == 200
        assert (await hub.post("/pub/x", b"", token=make_token(KEY, "/pub/x"))).status_code == 200
        assert (await hub.post("/pub/x", b"", token=make_token("new", "/pub/x"))).status_code == 401


async def test_what_needs_a_restart_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with open_whole_hub(tmp_path, "[routers.x]\na = 1\n") as hub:
        await hub.running.reload(lambda: configured(tmp_path, "[routers.x]\na = 1\n", publish_rate=Rate(9, 1)))
        assert "need a restart" not in caplog.text
        changed = configured(tmp_path, "[routers.x]\na = 2\n", retention=Retention(max_count=5), grace_s=3)
        await hub.running.reload(lambda: changed)
    assert "these options need a restart: grace_s, routers" in caplog.text


async def test_what_has_no_effect_is_told_at_the_start_and_at_each_reload(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_whole_hub(tmp_path, "[routers.x]\na = 1\n") as hub:
        assert (
            "toml:1: [routers.x]: the hub runs no router of this name; add it to the list `router`"
            in caplog.messages[0]
        )
        await hub.running.reload(lambda: configured(tmp_path, github(SECRET), unsafe_prefixes=("other",)))
    assert "toml:2: this hub has no such unsafe topic as '/unsafe/" in caplog.text


def test_every_part_of_a_configuration_is_taken_over_or_told() -> None:
    taken_over = {
        *(
            "key",
            "old_keys",
            "github_secrets",
            "file",
            "places",
            "tls_certificate",
            "tls_key",
            "tls_client_authorities",
        ),
        *("revoked", "sha1_tokens", "sha1_tokens_live_only", "trusted_proxies", "failure_rate", "publish_rate"),
        *("max_subscribers", "max_subscribers_per_token", "unsafe_prefixes", "cors_origins", "public_url", "retention"),
        *("reply_prefixes", "reply_timeout_s"),
    }
    assert {field.name for field in fields(Config)} == taken_over | reloading.NEED_RESTART
    assert not taken_over & reloading.NEED_RESTART


# --- TLS


class Pair:
    """A certificate and its key, as files."""

    def __init__(self, directory: Path, authorizer: trustme.CA) -> None:
        self.authorizer = authorizer
        self.certificate, self.key = directory / "hub.crt", directory / "hub.key"
        self.issue()

    def issue(self, authorizer: trustme.CA | None = None) -> None:
        issued = (authorizer or self.authorizer).issue_cert("127.0.0.1")
        self.certificate.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
        self.key.write_bytes(issued.private_key_pem.bytes())

    @property
    def options(self) -> dict[str, Any]:
        return {"tls_certificate": self.certificate, "tls_key": self.key}


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path, trustme.CA())


def trust(authorizer: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authorizer.configure_trust(context)
    return context


async def test_a_new_certificate_is_shown_from_the_next_handshake_on(tmp_path: Path, pair: Pair) -> None:
    old, new = trust(pair.authorizer), trust(another := trustme.CA())
    async with open_whole_hub(tmp_path, client={"verify": old}, **pair.options) as hub:
        assert (await hub.http.get("/status")).status_code == 200
        pair.issue(another)
        await hub.running.reload(lambda: configured(tmp_path, **pair.options))
        async with httpx.AsyncClient(base_url=hub.running.url, verify=new) as client:
            assert (await client.get("/status")).status_code == 200
        assert (await hub.http.get("/status")).status_code == 200  # on the connection that there is
        async with httpx.AsyncClient(base_url=hub.running.url, verify=old) as client:
            with pytest.raises(httpx.ConnectError):
                await client.get("/status")


@pytest.mark.parametrize("broken", ["nothing", "empty", "nonsense", "another key", "encrypted"])
async def test_a_certificate_that_is_none_leaves_the_old_one(tmp_path: Path, pair: Pair, broken: str) -> None:
    async with open_whole_hub(tmp_path, client={"verify": trust(pair.authorizer)}, **pair.options) as hub:
        if broken == "nothing":
            pair.certificate.unlink()
        elif broken == "another key":
            pair.key.write_bytes(trustme.CA().issue_cert("127.0.0.1").private_key_pem.bytes())
        elif broken == "encrypted":
            key = load_pem_private_key(pair.key.read_bytes(), None)
            pair.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")))
        else:
            pair.certificate.write_bytes({"empty": b"", "nonsense": b"-----BEGIN CERTIFICATE-----\n"}[broken])
        with pytest.raises(ConfigError, match=r"TLS needs .*hub\.crt"):
            await hub.running.reload(lambda: configured(tmp_path, key=StoredSecret("new"), **pair.options))
        async with httpx.AsyncClient(base_url=hub.running.url, verify=trust(pair.authorizer)) as client:
            headers = {"Authorization": f"Bearer {make_token(KEY, '/pub/x')}"}
            assert (await client.post("/pub/x", headers=headers)).status_code == 200


async def test_whose_certificates_are_accepted_is_replaced(tmp_path: Path, pair: Pair) -> None:
    mine, theirs = trustme.CA(), trustme.CA()
    authorities = tmp_path / "clients.pem"
    mine.cert_pem.write_to_path(authorities)
    robot = mine.issue_cert("robot.example", common_name="robot")
    subject = load_pem_x509_certificate(robot.cert_chain_pems[0].bytes()).subject.rfc4514_string()
    text = github(SECRET, certificates=[subject])
    options = {"tls_client_authorities": authorities, **pair.options}

    def deliver(url: str) -> httpx.Response:
        context = trust(pair.authorizer)
        robot.configure_cert(context)
        signed = load_provider("github").sign(SignedRequest(b"{}"), SECRET, now=0)
        return httpx.post(f"{url}/unsafe/pub/acme/x", content=b"{}", headers=dict(signed.headers), verify=context)

    async with open_whole_hub(tmp_path, text, **options) as hub:
        assert (await trio.to_thread.run_sync(deliver, hub.running.url)).status_code == 200
        theirs.cert_pem.write_to_path(authorities)
        await hub.running.reload(lambda: configured(tmp_path, text, **options))
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):  # the hub ends the handshake
            await trio.to_thread.run_sync(deliver, hub.running.url)


async def test_an_address_that_is_encrypted_needs_a_certificate(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^--bind: 'https://127.0.0.1:0' needs a certificate: sslcrt and sslkey$"):
        async with open_whole_hub(tmp_path, bind=("https://127.0.0.1:0",)):
            pass


@pytest.mark.parametrize("began_with_tls", [True, False])
async def test_whether_it_speaks_tls_is_decided_when_a_hub_starts(
    tmp_path: Path, pair: Pair, began_with_tls: bool
) -> None:
    options = [pair.options, {}]
    async with open_whole_hub(tmp_path, **options[not began_with_tls]) as hub:
        with pytest.raises(ConfigError, match="restart the hub"):
            await hub.running.reload(lambda: configured(tmp_path, **options[began_with_tls]))


# --- a process


@asynccontextmanager
async def hub_process(tmp_path: Path, key: str | None = None) -> AsyncIterator[HubProcess]:
    with no_groups():
        async with starting() as start:
            options = ("--store", "memory:", "--config", tmp_path / "hookbot.toml")
            hub = HubProcess(start, tmp_path / "data", *options, key=key)
            await hub.start()
            yield hub
            assert await hub.stop() == 0


REREAD = "was reloaded"
KEPT = "the hub keeps its configuration"


def http(hub: HubProcess) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=f"http://127.0.0.1:{hub.port}")


async def post(hub: HubProcess, path: str, key: str) -> int:
    async with http(hub) as client:
        return (await client.post(path, headers={"Authorization": f"Bearer {make_token(key, path)}"})).status_code


@asynccontextmanager
async def listening(hub: HubProcess, key: str) -> AsyncIterator[WebSocket]:
    async with await connect(hub.port) as client:
        headers = [("Authorization", f"Bearer {make_token(key, '/sub/x')}")]
        listener = WebSocket(client, "/sub/x", headers=headers)
        await listener.ask()
        yield await listener.accepted()


@pytest.mark.slow
async def test_keys_are_rotated_without_a_restart(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (tmp_path / "hookbot.toml").touch()
    (data / "key").write_text("first\n")
    async with hub_process(tmp_path) as hub, listening(hub, "first") as old:
        (data / "key").write_text("second\n")
        (data / "old-keys").write_text("first\n")
        await hub.reload(REREAD)
        assert await post(hub, "/pub/x", "first") == 200
        assert await post(hub, "/pub/x", "second") == 200
        assert await old.take() == b""

        async with listening(hub, "second") as new:
            (data / "old-keys").unlink()
            await hub.reload(REREAD)
            assert await old.closed() == 1008
            assert await post(hub, "/pub/x", "first") == 401
            assert await post(hub, "/pub/x", "second") == 200
            assert await new.take() == b""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("break_it", "reason"),
    [
        (lambda path: (path / "hookbot.toml").write_text("bind ="), "hookbot.toml:1: "),
        (
            lambda path: (path / "hookbot.toml").write_text("keep = 'long'\nbnd = 5"),
            "hookbot.toml:1: keep: not a duration",
        ),
        (lambda path: (path / "hookbot.toml").unlink(), "does not exist"),
        (lambda path: (path / "data" / "key").unlink(), "key"),
        (lambda path: (path / "data" / "key").write_text("\n"), "is empty"),
        (lambda path: (path / "hookbot.toml").write_text("revoked = 'nowhere'"), "'nowhere' does not exist"),
    ],
)
async def test_what_is_broken_is_told_and_everything_stays_as_it_was(
    tmp_path: Path, break_it: Callable[..., Any], reason: str
) -> None:
    (tmp_path / "hookbot.toml").write_text("unsafe = ['acme/']\n")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "key").write_text("first\n")
    async with hub_process(tmp_path) as hub, listening(hub, "first") as listener:
        break_it(tmp_path)
        assert reason in await hub.reload(KEPT)
        assert await post(hub, "/pub/x", "first") == 200
        assert await listener.take() == b""
        assert await post(hub, "/unsafe/pub/other", "first") == 404
    assert (tmp_path / "data" / "key").exists() is (reason != "key")


@pytest.mark.slow
async def test_names_are_revoked_and_sources_added_without_a_restart(tmp_path: Path) -> None:
    revoked = tmp_path / "revoked"
    revoked.touch()
    (tmp_path / "hookbot.toml").write_text(f"revoked = '{revoked}'\n")
    async with hub_process(tmp_path, key=KEY) as hub, http(hub) as client:
        headers = {"Authorization": f"Bearer {named('ann')}"}
        assert (await client.post("/pub/x", headers=headers)).status_code == 200
        assert (await client.post("/unsafe/pub/acme/x")).status_code == 200
        revoked.write_text("# a lost laptop\nann\n")
        (tmp_path / "hookbot.toml").write_text(f"revoked = '{revoked}'\n" + github(SECRET))
        await hub.reload(REREAD)
        assert (await client.post("/pub/x", headers=headers)).status_code == 401
        assert (await client.post("/unsafe/pub/acme/x")).status_code == 401


class ToldDuties(SoleDuties):
    """Duties that note what the other hubs are told."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []

    def tell_configuration(self, digests: str) -> None:
        self.told.append(digests)


async def test_the_other_hubs_are_told_what_is_in_force_after_a_reload(tmp_path: Path) -> None:
    initial = configured(tmp_path)
    duties = ToldDuties()
    access = reloading.make_access_control(initial)

    changed = replace(initial, sha1_tokens=False, retention=Retention(max_count=1))
    log = MemoryLog()
    log.duties = duties
    async with open_broker(log) as broker, open_consumers(broker) as consumers:
        alerts = Alerts(broker, consumers, list, ())
        await reloading.reload(access, None, broker, alerts, initial, lambda: changed)

    [told] = duties.told
    assert differing(configuration_digests(initial), told) == ["retention", "no-sha1"]
    assert broker.writer.retention == changed.retention
