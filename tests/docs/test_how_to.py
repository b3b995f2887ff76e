"""docs/how-to.md: each recipe can be pasted into an empty machine, and prints what the page shows.

What is no part of hookbot, such as the application that is deployed, is a program that says that it was called.
"""

import os
import re
import shutil
import time
from pathlib import Path

import pytest
import trio
from stripe import WebhookSignature

from hookbot.log.sqlite import open_sqlite_log
from hookbot.signatures import SignedRequest, load_provider
from support.alerts import fall_silent
from support.pages import blocks, lines_printed, lines_shown, page, section
from support.postgres import PostgresServer
from support.terminal import Terminal, application

# CI has it: there, a test that is skipped would be a hole that nobody sees.
needs_jq = pytest.mark.skipif(shutil.which("jq") is None and "CI" not in os.environ, reason="needs jq")
pytestmark = pytest.mark.slow

PAGE = page("docs/how-to.md")
SETTINGS, SAMPLE = blocks(PAGE.partition("\n## ")[0])


@pytest.fixture
def hub(terminal: Terminal) -> Terminal:
    """A terminal on the machine of a hub, with the settings that the page begins with."""
    terminal.serve()
    terminal.paste(SETTINGS)
    return terminal


def recipe(title: str) -> list[str]:
    found = blocks(section(PAGE, title))
    assert found
    return found


def shown(title: str) -> set[str]:
    return lines_shown(section(PAGE, title))


@needs_jq
def test_a_push_is_deployed(hub: Terminal, tmp_path: Path) -> None:
    hub.program("git", 'echo "git $*"')
    hub.program("systemctl", 'echo "systemctl $*"')
    [deploy] = recipe("Deploy on push")
    hub.paste(SAMPLE)

    output = hub.start(deploy.replace("/srv/app", str(tmp_path)), "  exit 0  ") + hub.read_until("\n")

    assert shown("Deploy on push") - lines_printed(output) == set(), output
    assert "| git checkout --quiet --detach 1f2e3d4c5b6a798897a6b5c4d3e2f10f1e2d3c4b\n" in output
    assert "| systemctl --user restart app\n" in output


def test_what_is_deployed_is_recorded(hub: Terminal) -> None:
    output = hub.paste("".join(recipe("Record what is deployed")))

    assert shown("Record what is deployed") - lines_printed(output) == set(), output


@needs_jq
def test_a_ci_system_is_triggered(hub: Terminal) -> None:
    (hub.checkout / "headers").write_text("Authorization: Bearer s3cret\n")
    [trigger] = recipe("Trigger a CI system")
    trigger = trigger.replace("/etc/ci/headers", "headers").replace("https://ci.internal", "http://localhost:3000")

    with application(hub.ports[3000]) as received:
        hub.start(trigger, "listening to ")
        hub.aside(SETTINGS + SAMPLE)
        hub.read_until("  exit 0  ")

    [build] = received
    assert build.body == b'{"ref": "1f2e3d4c5b6a798897a6b5c4d3e2f10f1e2d3c4b"}'
    assert build.headers["Authorization"] == "Bearer s3cret"


def test_deliveries_reach_jenkins_as_they_were_sent(hub: Terminal) -> None:
    jenkins, gitlab = (at_port_3000(block) for block in recipe("Reach a Jenkins behind a firewall"))

    with application(hub.ports[3000]) as received:
        hub.start(jenkins, "listening to ")
        hub.aside(SETTINGS + SAMPLE)
        output = hub.read_until("  204  ") + hub.read_until("\n")
        hub.stop()
        hub.start(gitlab, "listening to ")
        hub.aside(SETTINGS + 'curl -d "{}" $(hookbot make-tokens /pub/gitlab/acme)\n')
        hub.read_until("  204  ")

    title = "Reach a Jenkins behind a firewall"
    expected = {at_port_3000(line).replace("  200  ", "  204  ") for line in shown(title) if "200" in line}
    assert expected - lines_printed(output) == set(), output
    assert [request.headers.get("X-Gitlab-Token") for request in received] == [None, "THE-TOKEN"]
    assert received[0].headers["X-Hub-Signature-256"]


def at_port_3000(text: str) -> str:
    return text.replace("jenkins.internal:8080", "localhost:3000").replace("http://HUB", "http://localhost:3000")


def test_a_laptop_gets_a_url(hub: Terminal) -> None:
    title = "Give a laptop a URL"
    token, login, tunnel = recipe(title)

    output = hub.paste(token + login)
    with application(hub.ports[3000]) as received:
        output += hub.start(tunnel, "listening to ")
        url = next(line for line in output.splitlines() if "/unsafe/pub/dev/ann/" in line)
        hub.aside(f"curl -fsS -d 'hello, world' {url}\n")
        hub.read_until(" 204 ")

    assert shown(title) - lines_printed(output) == set(), output
    assert [request.body for request in received] == [b"hello, world"]


def configure(terminal: Terminal, title: str, provider: str, secret: str) -> None:
    """Write the configuration of a recipe to a file, with the secret of its source in another one."""
    [source] = blocks(section(PAGE, title), "toml")
    (terminal.checkout / "secret").write_text(secret)
    (terminal.checkout / "hub.toml").write_text(
        source.replace(f"/run/credentials/hookbot.service/{provider}", "secret")
    )


def serve_source(terminal: Terminal, title: str, provider: str, secret: str, options: str = "") -> None:
    """Start a hub with the configuration of a recipe."""
    configure(terminal, title, provider, secret)
    terminal.serve(f"--config hub.toml {options}")
    terminal.paste(SETTINGS)


def test_events_of_stripe_reach_the_application_on_a_laptop(terminal: Terminal) -> None:
    title = "Develop against Stripe on a laptop"
    forward, replay = recipe(title)
    serve_source(terminal, title, "stripe", "whsec_secret")
    event = "echo '{}' > event.json\nhookbot sign stripe --secret file:secret event.json --curl --url "
    event += "$HOOKBOT_URL_BASE/unsafe/pub/stripe/test | sh\n"

    with application(terminal.ports[4242]) as received:
        terminal.start(forward, "listening to ")
        terminal.aside(SETTINGS + event)
        terminal.read_until("  204  ")
        terminal.stop()
        output = terminal.paste(replay)

    for request in received:
        signed = SignedRequest(request.body, tuple(request.headers.items()))
        assert load_provider("stripe").verify(signed, ["whsec_of_this_laptop"], now=time.time())
    assert len(received) == 2
    assert {line.replace("2 replayed", "1 replayed") for line in shown(title)} - lines_printed(output) == set(), output


def test_a_handler_is_tried_without_its_sender(terminal: Terminal) -> None:
    title = "Try a handler without its sender"
    serve_source(terminal, "Develop against Stripe on a laptop", "stripe", "whsec_secret")
    direct, by_hub = recipe(title)

    with application(terminal.ports[4242]) as received:
        output = terminal.paste(direct)
    output += terminal.paste(by_hub)

    assert [b'"amount_paid":1200' in request.body for request in received] == [False, True]
    for request in received:
        assert WebhookSignature.verify_header(request.body, request.headers["Stripe-Signature"], "whsec_secret")
    assert shown(title) - lines_printed(output) == set(), output


def test_deliveries_are_watched_and_repeated(hub: Terminal) -> None:
    [watch] = recipe("Watch deliveries and repeat them")
    hub.paste("export TERM=xterm-256color\n")

    with application(hub.ports[3000]) as received:
        hub.start(watch, "listening to ")
        hub.aside(SETTINGS + SAMPLE)
        hub.read_until("1 done")
        hub.press("\r")
        hub.read_until("X-GitHub-Event: push")
        hub.press("r")
        # The second attempt, below the first.
        hub.read_until("H  2  20")
        hub.press("qq")
        # The screen of the shell is back.
        hub.read_until("\x1b[?1049l")

    first, second = received
    assert first.body == second.body


def test_a_sender_gets_the_answer_of_its_source(terminal: Terminal) -> None:
    title = "Answer a sender with more than OK"
    [ask] = recipe(title)
    serve_source(terminal, title, "twilio", "the auth token of the tests", "--reply /unsafe/twilio/")

    for output in (terminal.paste(ask), terminal.paste(ask.replace("/twilio/sms", "/twilio/sms?reply"))):
        assert all(line.strip() in output for line in shown(title)), output


def answering(terminal: Terminal, listener: str, request: str) -> str:
    """Output of a listener until it has answered a request, which is made aside."""
    terminal.start(listener, "listening to ")
    terminal.aside(SETTINGS + request)
    output = terminal.read_until("handed back to the sender")
    terminal.stop()
    return output


def test_slash_commands_are_answered(terminal: Terminal) -> None:
    title = "Answer slash commands"
    forward, run = recipe(title)
    serve_source(terminal, title, "slack", "the signing secret")

    def command(text: str) -> str:
        # Of their own: two that are signed within one second would else be one that is repeated.
        (terminal.checkout / text).write_text(f"command=%2Fdo&text={text}")
        sign = f"hookbot sign slack --secret file:secret {text} --curl --url "
        return f"{sign}$HOOKBOT_URL_BASE/unsafe/pub/slack?reply | sh; echo\n"

    alone = terminal.paste(command("this"))
    with application(terminal.ports[3000]) as received:
        output = answering(terminal, forward, command("that"))
    printed = answering(terminal, run, command("it"))

    assert '{"text": "Not now. I will look at it later."}' in alone
    assert "/unsafe/slack  204  " in output
    assert "| It is " in printed
    assert [request.body for request in received] == [b"command=%2Fdo&text=that"]


def test_pages_of_a_shop_are_answered(terminal: Terminal) -> None:
    title = "Answer a page of a shop"
    [forward] = recipe(title)
    serve_source(terminal, title, "shopify", "the client secret")

    def view(page: str) -> str:
        asked = SignedRequest(b"", (), "GET", f"/unsafe/pub/shop?reply&page={page}")
        signed = load_provider("shopify-proxy").sign(asked, "the client secret", now=time.time())
        return f'curl -s "$HOOKBOT_URL_BASE{signed.url}"; echo\n'

    alone = terminal.paste(view("1"))
    with application(terminal.ports[3000]) as received:
        output = answering(terminal, forward, view("2"))

    assert "<p>Back in a minute.</p>" in alone
    assert "/unsafe/shop  204  " in output
    assert [request.body.partition(b"&timestamp=")[0] for request in received] == [b"/proxy?reply&page=2"]


def test_work_is_shared(hub: Terminal) -> None:
    [share] = recipe("Share work among machines")

    assert "images/1 | 8\n" in hub.start(share, "  exit 0  ")


def test_a_failed_build_is_notified(hub: Terminal) -> None:
    hub.program("notify-send", 'echo "notified: $*"')
    [notify] = recipe("Get desktop notifications")
    failure = '{"check_run": {"conclusion": "failure"}}'

    hub.start(notify, "listening to ")
    hub.aside(SETTINGS + f"curl -d '{failure}' $(hookbot make-tokens /pub/github.com/repo/acme/app)\n")

    assert "notified: A build failed\n" in hub.read_until("  exit 0  ")


@needs_jq
def test_a_silent_sender_is_mailed_and_posted(terminal: Terminal) -> None:
    title = "Be told when a sender falls silent"
    mail, slack = recipe(title)
    (terminal.checkout / "slack-url").write_text(f"http://localhost:{terminal.ports[3000]}/services/x")
    configure(terminal, title, "stripe", "whsec_secret")
    data_dir = terminal.home / ".local" / "state" / "hookbot"
    data_dir.mkdir(parents=True)
    trio.run(fall_silent, open_sqlite_log(data_dir), "/unsafe/stripe/")
    terminal.program("mail", 'echo "mail $*: $(cat)"')
    terminal.serve("--config hub.toml")
    terminal.paste(SETTINGS)
    event = (
        "echo '{}' | hookbot sign stripe --secret file:secret --curl --url $HOOKBOT_URL_BASE/unsafe/pub/stripe/x | sh\n"
    )

    output = terminal.start(mail, "  exit 0  ") + terminal.read_until("\n")
    terminal.aside(SETTINGS + event)
    heard = terminal.read_until("  exit 0  ")
    terminal.stop()
    with application(terminal.ports[3000]) as received:
        terminal.paste(
            slack.replace("/etc/hookbot/slack-url", "slack-url") + 'hookbot latest --raw "$SUB" | ./tell.sh\n'
        )

    assert shown(title) - lines_printed(output) == set(), output
    assert "mail -s the source /unsafe/stripe/ is silent: nothing was accepted since " in output
    assert "| mail -s the source /unsafe/stripe/ is heard again ops@example.com: " in heard
    assert [request.body for request in received] == [b'{  "text": "the source /unsafe/stripe/ is heard again"}']


def test_two_organisations_have_sources_of_their_own(hub: Terminal) -> None:
    output = hub.paste("".join(recipe("Serve two organisations")))

    assert shown("Serve two organisations") - lines_printed(output) == set(), output


def test_failed_messages_are_set_aside_and_delivered_later(hub: Terminal) -> None:
    forward, replay = recipe("Set failed messages aside")

    output = hub.start(forward, "; given up") + hub.read_until("\n")
    hub.stop()
    with application(hub.ports[3000]) as received:
        output += hub.paste(replay)

    assert shown("Set failed messages aside") - lines_printed(output) == set(), output
    assert [request.body for request in received] == [b"a customer"]


@needs_jq
def test_polls_miss_nothing_while_nobody_polls(hub: Terminal) -> None:
    [poll] = recipe("Listen with curl alone")
    publish = 'curl -s -d {} "$(hookbot make-tokens /pub/deploy)"\n'

    output = hub.start(poll, "deploy: ship it\n")
    hub.aside(SETTINGS + publish.format("live"))
    hub.read_until("deploy: live\n")
    hub.stop()
    hub.paste(publish.format("later"))
    later = hub.start("./poll.sh\n", "deploy: later\n")

    assert shown("Listen with curl alone") - lines_printed(output) == set(), output
    # Stopped before it had noted that, it prints what was last a second time.
    assert later in ("deploy: later\n", "deploy: live\ndeploy: later\n")


def test_a_listener_is_a_service(hub: Terminal, tmp_path: Path) -> None:
    (tmp_path / "etc" / "systemd" / "system").mkdir(parents=True)
    for tool in ("systemctl", "journalctl"):
        hub.program(tool, f'echo "{tool} $*"')
    [service] = recipe("Run a listener as a service")

    output = hub.paste(service.replace("/etc/", f"{tmp_path}/etc/"))

    assert output == "systemctl enable --now hookbot-forward\njournalctl -fu hookbot-forward\n"
    token = tmp_path / "etc" / "hookbot" / "forward.token"
    assert re.fullmatch(r"[0-9a-f]{40}\n", token.read_text())
    assert token.stat().st_mode & 0o777 == 0o600


def test_a_hub_is_moved_to_postgresql(hub: Terminal, postgres: PostgresServer) -> None:
    title = "Move a hub to PostgreSQL"
    [making] = blocks(section(PAGE, title), "sql")
    for statement in making.replace("DATABASE hookbot", "DATABASE moved").strip().split("\n"):
        postgres.execute(statement)
    store = f"postgresql://hookbot@127.0.0.1:{postgres.port}/moved"
    hub.program("systemctl", SYSTEMCTL.format(port=hub.ports[8080], store=store))
    copying, starting = recipe(title)
    copying = copying.replace("/var/lib/hookbot", "$HOME/.local/state/hookbot").replace(IN_EXAMPLES, store)
    listening = 'hookbot listen --raw --cursor laptop --since all -n 1 "$SUB"\n'

    hub.paste("SUB=$(hookbot make-tokens /sub/deploy)\nPUB=$(hookbot make-tokens /pub/deploy)\n")
    first = hub.paste(f'curl -s -d one "$PUB"\ncurl -s -d two "$PUB"\n{listening}')
    output = hub.paste(copying) + hub.paste(starting.replace(IN_EXAMPLES, store))
    second = hub.paste(listening)
    hub.paste("systemctl stop hookbot\n")

    assert "one\n" in first
    # What it has received, and the notice that it listens, come in either order.
    assert "two\n" in second
    assert "one\n" not in second
    assert {line for line in shown(title) if "trim" not in line} - lines_printed(output) == set(), output
    assert "  trim, github  " in output


IN_EXAMPLES = "postgresql://hookbot@db.example.com/hookbot"
SYSTEMCTL = """
case $1 in
    stop) kill $(cat $HOME/hub.pid 2>/dev/null || cat $HOME/.local/state/hookbot/hookbot.lock)
        while curl -fs http://127.0.0.1:{port}/healthz; do sleep 0.1; done;;
    start) hookbot serve --bind 127.0.0.1:{port} --router github --store {store} > /dev/null 2>&1 &
        echo $! > $HOME/hub.pid
        until curl -fs http://127.0.0.1:{port}/readyz; do sleep 0.1; done;;
esac
"""


def test_what_hinders_messages_is_found(hub: Terminal) -> None:
    doctor, history, cursors = recipe("Find out why no messages arrive")
    doctor = doctor.replace("hookbot doctor", "hookbot doctor --wait 0")

    right = hub.paste(doctor + history + 'hookbot listen --cursor deployer --no-follow "$SUB"\n' + cursors)
    wrong = hub.paste(doctor.replace("$(hookbot make-tokens /sub/deploy)", "${PUB/pub/sub}"))

    assert "ok      token      the token opens /sub/deploy\n" in right
    assert "    hookbot doctor\n" in right
    assert {line for line in shown("Find out why no messages arrive") if line.startswith("KIND")} <= lines_printed(
        right
    )
    _, failed = section(PAGE, "Find out why no messages arrive").split("the clocks agree\n", 1)
    assert failed.partition("```")[0] in wrong
