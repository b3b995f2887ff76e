"""Senders that wait for an answer, whose applications are behind a hub: with the SDKs that sign and verify."""

import hmac
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from time import time
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode
from wsgiref.simple_server import WSGIRequestHandler, make_server

import httpx
import pytest
import trio
from discord_interactions import verify_key
from nacl.signing import SigningKey
from slack_sdk.signature import SignatureVerifier
from twilio.request_validator import RequestValidator
from twilio.twiml.messaging_response import MessagingResponse

from support import GUARD_S
from support.commands import Process, starting
from support.hubs import HubProcess

pytestmark = pytest.mark.slow

AT_ONCE = "Timing(backoff=partial(Backoff, 0.05, 0.1))"
# After which Slack and Discord give up.
PATIENCE_S = 3.0
SECRET = "the secret of the application"
SIGNING_KEY = SigningKey.generate()
PUBLIC_URL = "https://hooks.example.com"
FORM = "application/x-www-form-urlencoded"

CONFIG = f"""
reply = ["/unsafe/"]

[[sources]]
topic = "/unsafe/slack"
provider = "slack"
secrets = ["{SECRET}"]

[[sources]]
topic = "/unsafe/discord"
provider = "discord"
secrets = ["{SIGNING_KEY.verify_key.encode().hex()}"]

[[sources]]
topic = "/unsafe/twilio"
provider = "twilio"
secrets = ["{SECRET}"]
url = "{PUBLIC_URL}"

[[sources]]
topic = "/unsafe/shop"
provider = "shopify-proxy"
secrets = ["{SECRET}"]
"""

Headers = dict[str, str]
Start = Callable[..., Awaitable[Process]]


def slack_command(text: str = "deploy") -> tuple[Headers, bytes]:
    """A slash command, signed as Slack does."""
    body = urlencode({"command": "/do", "text": text, "user_id": "U1", "response_url": "https://hooks.slack.com/x"})
    timestamp = str(int(time()))
    signature = SignatureVerifier(SECRET).generate_signature(timestamp=timestamp, body=body)
    return {
        "Content-Type": FORM,
        "X-Slack-Request-Timestamp": timestamp,
        "X-Slack-Signature": signature or "",
    }, body.encode()


def discord_interaction(**fields: Any) -> tuple[Headers, bytes]:
    """An interaction, signed as Discord does."""
    body, timestamp = json.dumps({"id": "1", "application_id": "2", **fields}).encode(), str(int(time()))
    signature = SIGNING_KEY.sign(timestamp.encode() + body).signature.hex()
    return {
        "Content-Type": "application/json",
        "X-Signature-Ed25519": signature,
        "X-Signature-Timestamp": timestamp,
    }, body


def twilio_sms() -> tuple[Headers, bytes]:
    """An incoming SMS, signed as Twilio does."""
    fields = {"From": "+15551234567", "To": "+15557654321", "Body": "are you there?", "MessageSid": "SM1"}
    signature = RequestValidator(SECRET).compute_signature(f"{PUBLIC_URL}/unsafe/pub/twilio?reply", fields)
    return {"Content-Type": FORM, "X-Twilio-Signature": signature}, urlencode(fields).encode()


def shop_page(link: str) -> str:
    """What a visitor of a shop asks for, signed as Shopify's app proxies do."""
    query = (
        f"{link}&shop=acme.myshopify.com&logged_in_customer_id=&path_prefix=%2Fapps%2Freviews&timestamp={time():.0f}"
    )
    return f"{query}&signature={shopify_signature(query)}"


def shopify_signature(query: str) -> str:
    """As the example in Ruby calculates it, of "Authenticate app proxies" in Shopify's documentation."""
    parameters = parse_qs(query, keep_blank_values=True)
    parameters.pop("signature", None)
    text = "".join(sorted(f"{name}={','.join(values)}" for name, values in parameters.items()))
    return hmac.new(SECRET.encode(), text.encode(), "sha256").hexdigest()


@dataclass
class Application:
    """An application of a developer, as an HTTP server: verifies with the SDK of the sender, and answers."""

    answers: Callable[[Headers, bytes], tuple[str, str]]
    url: str = ""
    bodies: list[bytes] = field(default_factory=list)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"] or 0))
        headers = {name[5:].replace("_", "-"): value for name, value in environ.items() if name.startswith("HTTP_")}
        headers |= {"METHOD": environ["REQUEST_METHOD"], "QUERY": environ["QUERY_STRING"]}
        self.bodies.append(body)
        content_type, answer = self.answers(headers, body)
        start_response("200 OK", [("Content-Type", content_type), ("Set-Cookie", "session=1")])
        return [answer.encode()]


def slack_application(headers: Headers, body: bytes) -> tuple[str, str]:
    assert SignatureVerifier(SECRET).is_valid_request(body, headers)
    said = dict(parse_qsl(body.decode()))["text"]
    return "application/json", json.dumps({"response_type": "in_channel", "text": f"{said} it is"})


def discord_application(headers: Headers, body: bytes) -> tuple[str, str]:
    public_key = SIGNING_KEY.verify_key.encode().hex()
    assert verify_key(body, headers["X-SIGNATURE-ED25519"], headers["X-SIGNATURE-TIMESTAMP"], public_key)
    return "application/json", json.dumps({"type": 4, "data": {"content": json.loads(body)["data"]["name"]}})


def twilio_application(headers: Headers, body: bytes) -> tuple[str, str]:
    url, fields = f"{PUBLIC_URL}/unsafe/pub/twilio?reply", dict(parse_qsl(body.decode()))
    assert RequestValidator(SECRET).validate(url, fields, headers["X-TWILIO-SIGNATURE"])
    response = MessagingResponse()
    response.message(f"{fields['Body']} I am.")
    return "text/xml", str(response)


def shop_application(headers: Headers, body: bytes) -> tuple[str, str]:
    parameters = parse_qs(headers["QUERY"])
    assert parameters["signature"] == [shopify_signature(headers["QUERY"])]
    assert (headers["METHOD"], body) == ("GET", b"")
    return "text/html", f"<h1>Reviews of {parameters['product'][0]}</h1>"


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def serving(application: Application) -> Iterator[Application]:
    with make_server("127.0.0.1", 0, application, handler_class=_Quiet) as server:
        application.url = f"http://127.0.0.1:{server.server_port}/"
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield application
        finally:
            server.shutdown()
            thread.join()


@dataclass
class Scene:
    """A hub, which may be killed, and commands that listen to it."""

    hub: HubProcess
    starts: Start

    async def listen(self, command: str, name: str, *words: Any) -> Process:
        """Start `forward` or `exec`, with a cursor, and wait until it listens."""
        url = self.hub.url(f"/unsafe/sub/{name}")
        options = ("--reply", "--unsafe", "--cursor", "app")
        listener = await self.starts(command, *options, url, *words, timing=AT_ONCE)
        await listener.until("(hookbot/")
        return listener

    async def send(self, name: str, delivery: tuple[Headers, bytes]) -> httpx.Response:
        """Post a delivery as its sender does, until it is answered within `PATIENCE_S`."""
        headers, body = delivery
        url = f"http://127.0.0.1:{self.hub.port}/unsafe/pub/{name}?reply"
        async with httpx.AsyncClient(timeout=PATIENCE_S) as client:
            while True:
                # A machine may stand still for so long: then its user clicks once more.
                with suppress(httpx.TimeoutException):
                    return await client.post(url, content=body, headers=headers)


@asynccontextmanager
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    config = tmp_path / "hookbot.toml"
    config.write_text(CONFIG)
    config.chmod(0o600)
    async with starting() as start:
        hub = HubProcess(start, tmp_path / "data", "--config", config)
        await hub.start()
        yield Scene(hub, start)


APPLICATIONS: dict[str, tuple[Callable[[Headers, bytes], tuple[str, str]], Callable[[], Any], str]] = {
    "slack": (slack_application, slack_command, '{"response_type": "in_channel", "text": "deploy it is"}'),
    "discord": (
        discord_application,
        lambda: discord_interaction(type=2, data={"name": "deploy"}),
        '{"type": 4, "data": {"content": "deploy"}}',
    ),
    "twilio": (
        twilio_application,
        twilio_sms,
        '<?xml version="1.0" encoding="UTF-8"?><Response><Message>are you there? I am.</Message></Response>',
    ),
}


@pytest.mark.parametrize("name", APPLICATIONS)
async def test_an_application_behind_a_hub_answers_its_sender_in_time(tmp_path: Path, name: str) -> None:
    answers, sign, answer = APPLICATIONS[name]
    with serving(Application(answers)) as application:
        async with scene(tmp_path) as hub:
            listener = await hub.listen("forward", name, application.url)
            delivery = sign()

            first, second = [await hub.send(name, delivery) for _ in range(2)]
            await listener.until("handed back to the sender")

    assert (first.status_code, first.text) == (second.status_code, second.text) == (200, answer)
    assert first.headers["Content-Type"] in ("application/json", "text/xml")
    assert "Set-Cookie" not in first.headers
    assert first.headers["Hookbot-Message-Id"] == second.headers["Hookbot-Message-Id"]
    assert application.bodies == [delivery[1]]


async def test_an_application_behind_a_hub_answers_a_page_of_a_shop(tmp_path: Path) -> None:
    with serving(Application(shop_application)) as application:
        async with scene(tmp_path) as hub, httpx.AsyncClient(timeout=GUARD_S) as shopify:
            listener = await hub.listen("forward", "shop", application.url)
            base = f"http://127.0.0.1:{hub.hub.port}/unsafe/pub/shop?"
            page = shop_page("product=a%20b%26c&tag=1&tag=2&reply")

            first, second = [await shopify.get(base + page) for _ in range(2)]
            forged = await shopify.get(base + page.replace("product=a", "product=b"))
            browser = await shopify.get(base + page, headers={"Sec-Fetch-Dest": "script"})
            await listener.until("handed back to the sender")

    assert (first.status_code, first.text) == (second.status_code, second.text) == (200, "<h1>Reviews of a b&c</h1>")
    assert first.headers["Content-Type"] == "text/html"
    assert first.headers["Content-Security-Policy"] == "sandbox"
    assert second.headers["Hookbot-Duplicate"] == "true"
    assert (forged.status_code, browser.status_code) == (401, 403)
    assert application.bodies == [b""]


async def test_the_hub_answers_the_ping_of_discord_and_the_application_the_commands(tmp_path: Path) -> None:
    with serving(Application(discord_application)) as application:
        async with scene(tmp_path) as hub:
            before = await hub.send("discord", discord_interaction(type=1))
            await hub.listen("forward", "discord", application.url)
            ping = await hub.send("discord", discord_interaction(type=1))
            command = await hub.send("discord", discord_interaction(type=2, data={"name": "hi"}))

    assert (before.json(), ping.json()) == ({"type": 1}, {"type": 1})
    assert command.json()["data"] == {"content": "hi"}
    assert len(application.bodies) == 1


RUN = "import json, sys; open(sys.argv[1], 'a').write('run\\n'); print(json.dumps({'text': sys.stdin.read()[:15]}))"


async def test_a_command_answers_and_runs_once_for_a_delivery_that_is_sent_twice(tmp_path: Path) -> None:
    async with scene(tmp_path) as hub:
        listener = await hub.listen("exec", "slack", "--", sys.executable, "-c", RUN, tmp_path / "runs")
        delivery = slack_command()

        first, second = [await hub.send("slack", delivery) for _ in range(2)]
        await listener.until('| {"text"', "out")

    assert first.json() == second.json() == {"text": "command=%2Fdo&t"}
    assert first.headers["Content-Type"] == "application/json"
    assert second.headers["Hookbot-Duplicate"] == "true"
    assert (tmp_path / "runs").read_text() == "run\n"


WAIT = """
import os, sys, time
runs, go = sys.argv[1:]
open(runs, "a").write("run\\n")
while not os.path.exists(go):
    time.sleep(0.01)
print("done")
"""


async def test_a_hub_that_is_killed_while_the_command_runs_has_its_answer_for_the_next_attempt(tmp_path: Path) -> None:
    runs, go = tmp_path / "runs", tmp_path / "go"
    async with scene(tmp_path) as hub, trio.open_nursery() as nursery:
        listener = await hub.listen("exec", "slack", "--", sys.executable, "-c", WAIT, runs, go)
        delivery = slack_command()
        cut = trio.Event()

        async def first_attempt() -> None:
            with pytest.raises(httpx.HTTPError):
                await hub.send("slack", delivery)
            cut.set()

        nursery.start_soon(first_attempt)
        while not runs.exists():
            await trio.sleep(0.01)
        await hub.hub.kill()
        await cut.wait()
        go.touch()
        await listener.until("handed back to the sender")
        await hub.hub.start()
        await listener.until("(hookbot/", count=2)
        response = await hub.send("slack", delivery)

    assert (response.status_code, response.text) == (200, "done\n")
    assert response.headers["Hookbot-Duplicate"] == "true"
    assert runs.read_text() == "run\n"


async def test_without_anybody_behind_it_the_hub_answers_itself_and_the_command_runs_later(tmp_path: Path) -> None:
    async with scene(tmp_path) as hub:
        url = hub.hub.url("/unsafe/sub/slack")
        code = f"open({str(tmp_path / 'runs')!r}, 'a').write('run\\n'); print('late')"

        response = await hub.send("slack", slack_command())
        options = ("--reply", "--unsafe", "--cursor", "app", "--since", "all", "--limit", "1")
        listener = await hub.starts("exec", *options, url, "--", sys.executable, "-c", code)
        ended = await listener.ended()

    assert (response.status_code, response.text, ended) == (202, "", 0)
    assert (tmp_path / "runs").read_text() == "run\n"
