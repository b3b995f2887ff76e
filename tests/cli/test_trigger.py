"""``hookbot trigger``."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from click.shell_completion import BashComplete

from hookbot.access.tokens import make_token
from hookbot.cli.main import cli
from hookbot.hub.hub import open_hub
from hookbot.signatures import SignedRequest, load_provider, provider_names
from hookbot.signatures.samples import event_names
from support import KEY, SECRET
from support.commands import Caller, on_terminal
from support.hubs import ThreadHub, configured
from support.signature_samples import SAMPLES
from support.targets import Target

pytestmark = pytest.mark.usefixtures("environment")

SOURCES = "".join(
    f'[[sources]]\ntopic = "{topic}"\nprovider = "{provider}"\nsecrets = ["{SECRET}"]\n'
    for topic, provider in (("/unsafe/pay/", "stripe"), ("/unsafe/a", "github"), ("/unsafe/b", "github"))
)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ThreadHub]:
    with ThreadHub(open_hub(configured(tmp_path_factory.mktemp("hub"), SOURCES))) as hub:
        yield hub


def posted(server: Target, provider: str, secret: str = SECRET, url: str | None = None) -> SignedRequest:
    """The request that came, which the provider has accepted."""
    [request] = server.requests
    signed = SignedRequest(
        request.body, tuple(request.headers), "POST", url or server.url.removesuffix("/hook") + request.target.decode()
    )
    assert load_provider(provider).verify(signed, [secret], now=time.time()).key == 0
    return signed


# -- to any server


def test_an_event_is_posted_as_its_sender_would_and_the_answer_printed(thread: ThreadHub, call: Caller) -> None:
    server = thread.target((200, ("X-A", "b")))

    code, out, err = call("trigger", "stripe", "invoice.paid", f"{server.url}?a=b", "--secret", SECRET)

    assert (code, out) == (0, b"because")
    assert err.startswith(f"stripe invoice.paid: 200 OK from {server.url} in ")
    assert posted(server, "stripe").json()["type"] == "invoice.paid"
    assert server.requests[0].target == b"/hook?a=b"
    assert server.requests[0].all("Host") == [f"127.0.0.1:{server.port}"]


@pytest.mark.parametrize(("status", "code"), [(204, 0), (302, 3), (400, 3), (401, 3), (500, 4)])
def test_the_exit_code_tells_whether_it_was_accepted(thread: ThreadHub, call: Caller, status: int, code: int) -> None:
    server = thread.target(status)

    assert call("trigger", "github", "push", server.url, "--secret", SECRET)[0] == code


def test_what_the_server_answers_is_text_on_a_terminal(
    thread: ThreadHub, call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = thread.target(200)
    with on_terminal(monkeypatch, "stdout") as shown:
        call("trigger", "github", "push", server.url, "--secret", SECRET)

    assert bytes(shown) == b"because\r\n"


def test_fields_of_json_are_set(thread: ThreadHub, call: Caller) -> None:
    server = thread.target()
    values = (
        "data.object.amount_paid=1200",
        "data.object.lines.data.0.description=Pro",
        'data.object.metadata={"a":1.50}',
    )

    code, _, err = call(
        "trigger", "stripe", "invoice.paid", server.url, "--secret", SECRET, *(w for v in values for w in ("--set", v)),
        "--set", "data.object.custom=x",
    )  # fmt: skip

    request = posted(server, "stripe")
    invoice = request.json()["data"]["object"]
    assert (code, invoice["amount_paid"], invoice["lines"]["data"][0]["description"]) == (0, 1200, "Pro")
    assert (b'"metadata":{"a":1.50}' in request.body, invoice["custom"]) == (True, "x")
    assert err.splitlines()[0] == "data.object.custom is not in the sample of invoice.paid, and is added"


def test_fields_of_a_form_are_set(thread: ThreadHub, call: Caller) -> None:
    server = thread.target()

    call("trigger", "slack", "block_actions", server.url, "--secret", SECRET, "--set", "payload.user.id=U1")

    [payload] = parse_qs(posted(server, "slack").body.decode())["payload"]
    assert json.loads(payload)["user"]["id"] == "U1"


def test_a_body_and_headers_of_ones_own_are_signed(thread: ThreadHub, call: Caller, tmp_path: Path) -> None:
    server = thread.target()
    (tmp_path / "body").write_bytes(b'{ "a": 1 }')
    own = ("--body", tmp_path / "body", "-H", "X-GitHub-Event: release", "-H", "Host: app.example.com")

    call("trigger", "github", "push", server.url, "--secret", SECRET, *own)

    request = posted(server, "github")
    assert request.body == b'{ "a": 1 }'
    assert request.find_all("X-GitHub-Event") == ["release"]
    assert request.find_all("Host") == ["app.example.com"]


def test_the_url_that_is_signed_may_be_another_one(thread: ThreadHub, call: Caller) -> None:
    server = thread.target()
    url = "https://hooks.example.com/sms?a=b"

    call("trigger", "twilio", "message", server.url, "--secret", SECRET, "--signed-url", url)

    posted(server, "twilio", url=url)
    assert server.requests[0].target == b"/hook?a=b"


def test_a_secret_in_the_query_and_credentials_of_the_url_are_sent(thread: ThreadHub, call: Caller) -> None:
    server = thread.target()

    call("trigger", "azure-event-grid", "test", server.url.replace("//", "//user:pass@"), "--secret", "abc")

    assert server.requests[0].target == b"/hook?code=abc"
    assert server.requests[0].all("Authorization") == ["Basic dXNlcjpwYXNz"]


def test_a_server_of_this_machine_is_asked_without_a_proxy(thread: ThreadHub, call: Caller) -> None:
    server = thread.target()

    assert call("trigger", "github", "push", server.url, "--secret", SECRET, HTTP_PROXY="http://127.0.0.1:9/")[0] == 0


def test_it_may_be_unsigned(thread: ThreadHub, call: Caller) -> None:
    server = thread.target()

    assert call("trigger", "paypal", "PAYMENT.CAPTURE.COMPLETED", server.url, "--unsigned")[0] == 0
    assert json.loads(server.requests[0].body)["event_type"] == "PAYMENT.CAPTURE.COMPLETED"


def test_a_hub_verifies_and_stores_it(hub: ThreadHub, call: Caller) -> None:
    url = f"{hub.url}/unsafe/pub/pay/"

    code, out, _ = call("trigger", "stripe", "charge.refunded", url, "--secret", SECRET)
    assert (code, out) == (0, b"OK\n")
    code, out, _ = call("trigger", "stripe", "charge.refunded", url, "--secret", "another secret of some length")
    assert (code, b"the signature in the header Stripe-Signature" in out) == (3, True)


# -- through a hub


def test_a_hub_sends_it_to_its_own_source(hub: ThreadHub, call: Caller) -> None:
    code, id, err = call("trigger", "stripe", "invoice.paid", "--url", hub.url, HOOKBOT_KEY=KEY)
    stored = json.loads(call("message", id.decode().strip(), "--json", "--url", hub.url, HOOKBOT_KEY=KEY)[1])

    assert (code, err) == (0, "")
    assert (stored["topic"], stored["verified"]["provider"]) == ("/unsafe/pay/hookbot-test", "stripe")


def test_of_several_sources_one_is_chosen(hub: ThreadHub, call: Caller) -> None:
    code, _, err = call("trigger", "github", "push", "--url", hub.url, HOOKBOT_KEY=KEY)
    assert (code, "several sources of github: give the topic of one, /unsafe/a or /unsafe/b" in err) == (2, True)

    assert call("trigger", "github", "push", "--url", hub.url, "/unsafe/b", HOOKBOT_KEY=KEY)[0] == 0


def test_without_a_server_it_is_the_hub_of_the_profile(
    hub: ThreadHub, call: Caller, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment.setenv("XDG_CONFIG_HOME", str(tmp_path))
    token = make_token(KEY, "/")
    assert call("login", hub.url.replace("//", f"//{token}@"), "--of", "/")[0] == 0

    assert call("trigger", "stripe", "invoice.paid")[0] == 0
    assert call("trigger", "github", "push")[0] == 2
    assert call("trigger", "github", "push", "/unsafe/b")[0] == 0
    assert call("trigger", "stripe", "invoice.paid", "--profile", "other")[0] == 2


def test_a_hub_without_such_a_source_says_so(hub: ThreadHub, call: Caller) -> None:
    code, _, err = call("trigger", "slack", "message", "--url", hub.url, HOOKBOT_KEY=KEY)
    assert (code, "The hub has no source of slack." in err) == (2, True)


@pytest.mark.parametrize(
    "option", [("--set", "a=1"), ("--secret", "x"), ("-H", "A: b"), ("--unsigned",), ("-o", "a=1")]
)
def test_a_hub_signs_nothing_but_samples(hub: ThreadHub, call: Caller, option: tuple[str, ...]) -> None:
    code, _, err = call("trigger", "stripe", "invoice.paid", "--url", hub.url, *option, HOOKBOT_KEY=KEY)
    assert (code, "A hub signs samples as they are" in err) == (2, True)


# -- lists and mistakes


def test_providers_and_their_events_are_listed(call: Caller) -> None:
    code, out, _ = call("trigger")
    lines = out.decode().splitlines()
    assert (code, [line.split()[0] for line in lines]) == (0, provider_names())
    assert "message, reaction_added, slash_command" in next(line for line in lines if line.startswith("slack"))

    assert call("trigger", "stripe")[1].decode().splitlines() == event_names("stripe")


def test_the_events_of_the_provider_are_completed() -> None:
    complete = BashComplete(cli, {}, "hookbot", "_HOOKBOT_COMPLETE")

    found = complete.get_completions(["trigger", "stripe"], "invoice.")
    assert [item.value for item in found] == ["invoice.paid", "invoice.payment_failed"]


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        (["strip"], 2, "did you mean 'stripe'?"),
        (["stripe", "invoice.payd", "3000", "--secret", "x"], 2, "did you mean 'invoice.paid'?"),
        (["stripe", "invoice.paid", "3000"], 2, "Needs --secret or --unsigned, or --url for a hub"),
        (["stripe", "invoice.paid", "3000", "--secret", "x", "--unsigned"], 2, "Needs --secret or --unsigned"),
        (["stripe", "invoice.paid", "--secret", "x"], 2, "Needs URL to post to, or --url"),
        (["stripe", "invoice.payd", "3000"], 2, "did you mean 'invoice.paid'?"),
        (["stripe", "invoice.paid", "unix:/run/x", "--secret", "x"], 2, "URL is http:// or https://."),
        (["stripe", "invoice.paid", "ftp://x/", "--secret", "x"], 3, "a target is an http:// or https:// URL"),
        (["stripe", "invoice.paid", "3000", "--secret", "x", "--set", "a"], 2, "it has to be PATH=VALUE, not 'a'"),
        (["stripe", "invoice.paid", "3000", "--secret", "x", "--set", "type.a=1"], 3, "neither an object nor a list"),
        (["stripe", "invoice.paid", "3000", "--secret", "x", "--set", "a=1", "--body", "/dev/null"], 2, "replaces it"),
        (["stripe", "invoice.paid", "3000", "--secret", "env:NONE"], 2, "NONE is not set"),
        (["stripe", "invoice.paid", "3000", "--secret", "x", "-o", "b=1"], 2, "stripe has no option 'b'"),
        (["paypal", "test", "3000", "--secret", "x"], 2, "only the sender has the key"),
        (["github", "push", "http://127.0.0.1:9/", "--secret", "x"], 4, "cannot connect"),
    ],
)
def test_a_mistake_is_told(call: Caller, words: list[str], code: int, why: str) -> None:
    found, _, err = call("trigger", *words)

    assert (found, why in err) == (code, True), err


def test_every_provider_that_people_can_sign_for_is_posted(thread: ThreadHub, call: Caller) -> None:
    for one in {one.name: one for one in reversed(SAMPLES) if one.name not in ("aws-sns", "paypal")}.values():
        server = thread.target()
        for event in event_names(one.name)[:1]:
            words = ("trigger", one.name, event, server.url, "--secret", one.signing or one.secret)
            options = [word for name, value in one.options.items() for word in ("-o", f"{name}={json.dumps(value)}")]
            assert call(*words, *options)[0] == 0
        assert len(server.requests) == 1
