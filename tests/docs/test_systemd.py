"""docs/operations.md and the units of deploy/ with a real systemd: what that of test_service.py cannot do."""

import re
from collections.abc import Iterator

import pytest
import trustme

from support.machine import Machine, running_machine
from support.pages import blocks, page, section

pytestmark = pytest.mark.slow

PAGE = page("docs/operations.md")
INSTALL, *_ = blocks(section(PAGE, "Install it as a service"))
UNITS = ("hookbot.service", "hookbot-exec.service", "hookbot-forward.service")
# What a hub may be exposed to, of ten, as systemd counts it.
EXPOSURE = 3.0
BLOCKING = """
import time
class Blocking:
    name = "blocking"
    topics = ("/unsafe/block",)
    async def route(self, message, publish):
        time.sleep(1000)
"""

SHELL = "export HOOKBOT_DATA_DIR=/var/lib/hookbot PATH=/opt/hookbot/bin:$PATH\n"
# Answers one request.
SERVER = """
import http.server
class Jenkins(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        print(self.path, self.rfile.read(int(self.headers["Content-Length"])).decode(), flush=True)
        self.send_response(204)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", 8081), Jenkins).handle_request()
"""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine on which the hub was installed as the page says; pip has no network here."""
    with running_machine(tmp_path_factory.mktemp("machine")) as machine:
        installed = machine.paste(INSTALL.partition("\n")[2])
        assert "ok" in installed
        assert "/etc/hookbot.toml: no mistakes found" in installed
        yield machine


@pytest.fixture(autouse=True)
def as_installed(machine: Machine) -> Iterator[None]:
    """Each test begins with the units as they are shipped."""
    yield
    machine.paste(
        """systemctl stop hookbot.socket hookbot
        rm -rf /etc/systemd/system/hookbot.*.d
        echo 'keep = "30d"' > /etc/hookbot.toml
        systemctl daemon-reload
        systemctl reset-failed
        systemctl start hookbot
        """
    )


def shown(machine: Machine, name: str) -> str:
    return machine.run("systemctl", "show", "--value", "-p", name, "hookbot").strip()


def test_the_hub_is_installed_ready_when_it_has_started_and_tells_its_addresses(machine: Machine) -> None:
    assert machine.paste("curl -sS http://127.0.0.1:8080/readyz") == "ok\n"
    assert shown(machine, "StatusText") == "listening on http://127.0.0.1:8080"
    assert machine.paste("systemctl is-enabled hookbot.socket hookbot") == "enabled\nenabled\n"


def test_a_hub_that_is_stopped_with_its_address_stays_stopped(machine: Machine) -> None:
    restart, stop = blocks(section(PAGE, "Restart it"))
    stop, start = stop.splitlines()

    machine.paste(restart)
    machine.paste(stop)
    refused = machine.paste("curl -sS http://127.0.0.1:8080/readyz 2>&1 || true")
    states = machine.paste("systemctl is-active hookbot.socket hookbot || true")
    machine.paste(start)

    assert "Couldn't connect" in refused or "Failed to connect" in refused
    assert states == "inactive\ninactive\n"
    assert machine.paste("curl -sS http://127.0.0.1:8080/readyz") == "ok\n"


def test_a_reload_is_told(machine: Machine) -> None:
    machine.paste("echo 'kep = 5' > /etc/hookbot.toml; systemctl reload hookbot")
    machine.until("systemctl status hookbot | grep 'Status: \"reload failed, the hub keeps its configuration'")
    machine.paste("echo 'keep = \"5d\"' > /etc/hookbot.toml; systemctl reload hookbot")
    machine.until("systemctl status hookbot | grep 'Status: \"listening on '")

    assert shown(machine, "ActiveState") == "active"


def test_a_hub_is_upgraded_without_refusing_anybody(machine: Machine) -> None:
    install, upgrade = blocks(section(PAGE, "Upgrade it"))[0].split("\n", 1)
    assert "pip install" in install

    upgraded = machine.paste(SHELL + upgrade)

    assert upgraded.startswith("/etc/hookbot.toml: no mistakes found\n")
    assert upgraded.endswith("ok\n")
    assert (machine.root / "var/backups/before-the-upgrade.sqlite3").exists()


def test_a_hub_is_moved_with_its_messages_and_its_key(machine: Machine) -> None:
    leave, arrive = blocks(section(PAGE, "Move it"))
    listen = "hookbot listen --quiet --raw --since all --no-follow http://$token@127.0.0.1:8080/sub/moved\n"
    token = machine.paste(f"{SHELL}hookbot make-tokens --bare /sub/moved").strip()
    machine.paste(f"{SHELL}curl -sS -d 'before' \"$(hookbot make-tokens -U http://127.0.0.1:8080 /pub/moved)\"")

    machine.paste(SHELL + leave)
    machine.paste("rm -r /var/lib/hookbot /var/lib/private/hookbot")
    machine.paste("systemctl enable hookbot 2>&1")
    machine.paste(SHELL + arrive)
    machine.until("curl -fsS http://127.0.0.1:8080/readyz")

    assert machine.paste(f"{SHELL}token={token}\n{listen}") == "before"


def test_a_secret_is_passed_on(machine: Machine) -> None:
    make, add = blocks(section(PAGE, "Give it secrets"))

    machine.paste(f"{make}echo whsec > /etc/hookbot/stripe.secret\n{add}")

    assert machine.paste("cat /run/credentials/hookbot.service/stripe") == "whsec\n"
    secret = "file:/run/credentials/hookbot.service/stripe"
    source = f'[[sources]]\ntopic = "/unsafe/stripe/"\nprovider = "stripe"\nsecrets = ["{secret}"]'
    machine.paste(f"cat > /etc/hookbot.toml <<'END'\n{source}\nEND\nsystemctl restart hookbot")
    assert "401" in machine.paste(
        "curl -s -o /dev/null -w '%{http_code}' -d x http://127.0.0.1:8080/unsafe/pub/stripe/a"
    )


def test_the_address_is_changed(machine: Machine) -> None:
    [change] = blocks(section(PAGE, "Change its address"))

    machine.paste(change)

    assert machine.paste("curl -sS http://127.0.0.1:8081/readyz") == "ok\n"
    assert machine.paste("curl -sS --unix-socket /run/hookbot.sock http://hub/readyz") == "ok\n"
    assert shown(machine, "StatusText") == "listening on http://127.0.0.1:8081, unix:/run/hookbot.sock"


def test_it_speaks_tls_at_443(machine: Machine) -> None:
    authority = trustme.CA()
    made = authority.issue_cert("hub.example.com")
    live = machine.root / "etc" / "letsencrypt" / "live" / "hub.example.com"
    live.mkdir(parents=True, exist_ok=True)
    authority.cert_pem.write_to_path(live / "ca.pem")
    made.private_key_pem.write_to_path(live / "privkey.pem")
    made.cert_chain_pems[0].write_to_path(live / "fullchain.pem")
    machine.paste("chmod -R go-rwx /etc/letsencrypt")
    [speak] = blocks(section(PAGE, "Let it speak TLS"))

    machine.paste("echo 'bind = \"http://127.0.0.1:8080\"' > /etc/hookbot.toml\n" + speak)

    at = "--cacert /etc/letsencrypt/live/hub.example.com/ca.pem --resolve hub.example.com:443:127.0.0.1"
    assert machine.paste(f"curl -sS {at} https://hub.example.com/readyz") == "ok\n"
    assert machine.paste("curl -sS http://127.0.0.1:8080/readyz") == "ok\n"


def test_a_hub_whose_event_loop_is_blocked_is_restarted_and_says_where(machine: Machine) -> None:
    (machine.root / "opt" / "blocking.py").write_text(BLOCKING)
    machine.paste(
        """mkdir -p /etc/systemd/system/hookbot.service.d
        printf '[Service]\\nWatchdogSec=2s\\n' > /etc/systemd/system/hookbot.service.d/watchdog.conf
        echo 'router = "/opt/blocking.py"' > /etc/hookbot.toml
        systemctl daemon-reload
        systemctl restart hookbot
        curl -sS -d x http://127.0.0.1:8080/unsafe/pub/block
        """
    )

    machine.until("systemctl show hookbot -p NRestarts | grep -v =0")

    assert "/opt/blocking.py" in machine.paste("journalctl -u hookbot --no-pager")


def test_a_hub_with_a_wrong_configuration_is_not_restarted(machine: Machine) -> None:
    machine.paste("echo 'kep = 5' > /etc/hookbot.toml; systemctl restart hookbot || true")

    assert shown(machine, "ActiveState") == "failed"
    assert shown(machine, "ExecMainStatus") == "2"


def test_a_listener_posts_messages_to_a_server_of_this_machine(machine: Machine) -> None:
    [service] = blocks(section(page("docs/how-to.md"), "Run a listener as a service"))
    service = service.partition("journalctl")[0].replace("https://hub.example.com", "http://127.0.0.1:8080")
    machine.paste(SHELL + service)

    # It hears what is published once it listens.
    received = machine.paste(
        f"""{SHELL}
        python3 -c '{SERVER}' > /tmp/received 2> /dev/null &
        until test -s /tmp/received; do
            curl -sS -d 'a push' "$(hookbot make-tokens -U http://127.0.0.1:8080 /pub/jenkins/app)" > /dev/null
        done
        cat /tmp/received
        """
    )
    machine.paste("systemctl disable --now hookbot-forward 2>&1")

    assert received == "/ a push\n"
    assert machine.run("systemctl", "is-failed", "hookbot-forward", check=False) == "inactive\n"


def test_what_a_server_of_this_machine_refuses_is_kept_where_only_the_service_can_read_it(machine: Machine) -> None:
    [service] = blocks(section(page("docs/how-to.md"), "Run a listener as a service"))
    service = service.partition("journalctl")[0].replace("https://hub.example.com", "http://127.0.0.1:8080")
    machine.paste(SHELL + service)

    kept = machine.paste(
        f"""{SHELL}
        python3 -c '{SERVER.replace("204", "422")}' > /dev/null 2>&1 &
        until test -s /var/lib/hookbot-forward/dead-letters.jsonl; do
            curl -sS -d 'a push' "$(hookbot make-tokens -U http://127.0.0.1:8080 /pub/jenkins/app)" > /dev/null
        done
        stat -c %a /var/lib/private/hookbot-forward /var/lib/hookbot-forward/dead-letters.jsonl
        """
    )
    machine.paste("systemctl disable --now hookbot-forward 2>&1")

    assert kept == "700\n600\n"


def test_a_listener_runs_a_command_for_each_message(machine: Machine) -> None:
    machine.paste(
        f"""{SHELL}
        useradd --system deploy
        install -D -m 755 /dev/stdin /srv/app/deploy.sh <<'END'
#!/bin/sh
echo "deploys as $(id -un): $(cat)"
END
        hookbot make-tokens --bare /sub/app | install -D -m 600 /dev/stdin /etc/hookbot/exec.token
        echo HOOKBOT_URL=http://127.0.0.1:8080/sub/app > /etc/hookbot/exec.env
        cp deploy/hookbot-exec.service /etc/systemd/system
        systemctl daemon-reload
        systemctl start hookbot-exec
        until journalctl -u hookbot-exec --no-pager | grep -q 'deploys as deploy: a push'; do
            curl -sS -d 'a push' "$(hookbot make-tokens -U http://127.0.0.1:8080 /pub/app)" > /dev/null
        done
        systemctl stop hookbot-exec
        """
    )

    assert machine.run("systemctl", "is-failed", "hookbot-exec", check=False) == "inactive\n"


@pytest.mark.parametrize("unit", UNITS)
def test_the_units_are_valid_and_let_a_service_do_little(machine: Machine, unit: str) -> None:
    machine.paste(f"systemd-analyze verify --man=no deploy/{unit}")
    said = machine.paste(f"systemd-analyze security --offline=true --no-pager deploy/{unit}")

    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", said)
    assert found
    assert float(found[1]) <= EXPOSURE
