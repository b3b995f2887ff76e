"""docs/operations.md: root can paste the steps into an empty machine. Its systemd is a script that runs the unit.

A real one does what that cannot (test_systemd.py). So can root with what docs/cluster.md says of the machines of a
family.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.pages import blocks, lines_printed, lines_shown, page, section
from support.postgres import running_postgres
from support.terminal import Terminal

pytestmark = pytest.mark.slow

PAGE = page("docs/operations.md")
# `python3 -m venv DIRECTORY`; what pip would install is there.
VENV = """
mkdir -p $3/bin
ln -s {hookbot} $3/bin/hookbot
ln -s /bin/true $3/bin/pip
"""
SYSTEMD = """
unit={root}/etc/systemd/system/hookbot.service
address={root}/etc/systemd/system/hookbot.socket
stop() {{ kill "$(cat {root}/pid)"; while kill -0 "$(cat {root}/pid)"; do sleep 0.1; done; }} 2> /dev/null
start() {{
    umask 077
    mkdir -p {root}/run/credentials/hookbot.service
    for credential in $(sed -n s/^LoadCredential=//p "$unit".d/*.conf 2> /dev/null); do
        cp "${{credential#*:}}" "{root}/run/credentials/hookbot.service/${{credential%%:*}}"
    done
    export $(cat "$unit" "$unit".d/*.conf 2> /dev/null | sed -n s/^Environment=//p)
    export HOOKBOT_BIND=$(sed -n s/^ListenStream=//p "$address")
    setsid $(sed -n s/^ExecStart=//p "$unit") > {root}/journal 2>&1 < /dev/null &
    echo $! > {root}/pid
}}
case "$*" in
    "enable --now hookbot" | "start hookbot") start ;;
    "restart hookbot") stop; start ;;
    "stop hookbot" | "stop hookbot.socket hookbot") stop ;;
    "reload hookbot") kill -HUP "$(cat {root}/pid)" ;;
    daemon-reload) ;;
    *) echo "unknown: $*" ;;
esac
"""


READY = "until curl -fs http://127.0.0.1:8080/readyz; do sleep 0.1; done\n"


class Machine:
    """An empty machine with the directories of Debian, all in one directory."""

    def __init__(self, terminal: Terminal, root: Path) -> None:
        self.root = root
        self._terminal = terminal
        for directory in ("etc/systemd/system", "var/lib", "var/backups", "opt", "run"):
            (root / directory).mkdir(parents=True)
        (terminal.checkout / "deploy").unlink()
        (terminal.checkout / "deploy").mkdir()
        for unit in ("hookbot.service", "hookbot.socket"):
            text = self._here(page(f"deploy/{unit}")).replace(":8080", f":{terminal.ports[8080]}")
            (terminal.checkout / "deploy" / unit).write_text(text)
        terminal.program("systemctl", SYSTEMD.format(root=root))
        terminal.program("python3", VENV.format(hookbot=Path(sys.executable).with_name("hookbot")))

    def paste(self, text: str) -> str:
        return self._terminal.paste(self._here(text)).replace(str(self.root), "")

    def _here(self, text: str) -> str:
        for directory in ("/etc/", "/var/", "/run/", "/opt/"):
            text = text.replace(directory, f"{self.root}{directory}")
        return text


@pytest.fixture
def machine(terminal: Terminal, tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(terminal, tmp_path / "root")
    yield machine
    machine.paste("systemctl stop hookbot\n")


def of(title: str) -> list[str]:
    """The commands of a section of the page."""
    return blocks(section(PAGE, title))


def test_a_hub_is_installed_restarted_given_a_secret_and_upgraded(machine: Machine) -> None:
    install, settings = of("Install it as a service")
    make_secret, add_secret = of("Give it secrets")
    [upgrade] = of("Upgrade it")

    installed = machine.paste(install + settings)
    assert lines_shown(section(PAGE, "Install it as a service")) - lines_printed(installed) == set(), installed

    machine.paste("".join(of("Restart it")))

    machine.paste(make_secret)
    (machine.root / "etc/hookbot/stripe.secret").write_text("whsec_secret")
    machine.paste(add_secret)
    assert (machine.root / "run/credentials/hookbot.service/stripe").read_text() == "whsec_secret"

    upgraded = machine.paste(upgrade)
    assert "/etc/hookbot.toml: no mistakes found\n" in upgraded
    assert upgraded.endswith("ok\n")
    assert (machine.root / "var/backups/before-the-upgrade.sqlite3").exists()


def test_a_hub_that_encrypts_is_watched_backed_up_saved_and_restored(machine: Machine) -> None:
    [encrypt], [metrics] = of("Encrypt what is stored"), of("Monitor it")
    [back_up], [restore], [save] = map(of, ("Back it up", "Restore a backup", "If something happens to the disk"))
    # The default, which is not mapped to the free port otherwise.
    machine.paste("".join(of("Install it as a service")) + "export HOOKBOT_URL_BASE=http://localhost:8080\n")
    machine.paste(encrypt + READY)
    assert len((machine.root / "run/credentials/hookbot.service/at-rest").read_text()) == 65

    backed_up = machine.paste('curl -d first "$(hookbot make-tokens /pub/a)"\n' + back_up)
    assert re.search(r"backed up [0-9.]+ kB, with key\n", backed_up)
    machine.paste('curl -d second "$(hookbot make-tokens /pub/a)"; curl -d third http://localhost:8080/unsafe/pub/b\n')
    data = machine.root / "var/lib/hookbot"
    assert [path.name for path in data.iterdir() if path.is_file() and b"second" in path.read_bytes()] == []
    machine.paste(save)
    saved = machine.paste("cat rest.jsonl\n")
    assert [word in saved for word in ("first", "second", "third")] == [True, True, True]

    machine.paste(restore + READY)
    restored = machine.paste('hookbot listen --raw --since all --no-follow "$(hookbot make-tokens /sub/)" 2> errors\n')
    assert restored == "first\n"
    assert "hookbot_head 1" in machine.paste(metrics)


def test_what_is_kept_of_a_topic_is_limited_and_shown(machine: Machine) -> None:
    title = "Say how much is kept"
    [limits], [apply] = blocks(section(PAGE, title), "toml"), of(title)
    machine.paste("".join(of("Install it as a service")) + f"cat > /etc/hookbot.toml <<'END'\n{limits}END\n")

    # The last line asks, perhaps before the hub has read its configuration.
    shown = machine.paste(f"{apply}until {apply.splitlines()[-1]} | grep logs/; do sleep 0.1; done\n")

    assert "/etc/hookbot.toml: no mistakes found\n" in shown
    assert re.search(r"(?m)^logs/ .* 86400 +100000 ", shown), shown


def test_a_hub_of_a_family_has_its_key_and_its_password_from_systemd(machine: Machine) -> None:
    install = blocks(PAGE)[0]
    part = section(page("docs/cluster.md"), "Use several machines")
    [config], [pass_on] = blocks(part, "toml"), blocks(part)
    password = "let-in"
    with running_postgres() as server:
        (server.data / "pg_hba.conf").write_text(
            "host all hookbot 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n"
        )
        server.execute(f"CREATE ROLE hookbot LOGIN PASSWORD '{password}'")
        server.execute("ALTER DATABASE hookbot OWNER TO hookbot")
        server.restart()
        here = config.replace("db.example.com", f"127.0.0.1:{server.port}").partition("?")[0] + '"'
        files = {
            "/etc/hookbot.toml": here.replace("10.0.0.5", "127.0.0.1"),
            "/etc/hookbot/key": "a key that is long enough for anybody",
            "/etc/hookbot/pgpass": f"*:*:*:hookbot:{password}",
        }
        machine.paste(install.partition("echo ")[0] + "mkdir /etc/hookbot; cp deploy/hookbot.s* /etc/systemd/system\n")
        machine.paste("".join(f"cat > {name} <<'END'\n{text}\nEND\n" for name, text in files.items()))

        machine.paste(pass_on)

        assert machine.paste("curl -s --retry 9 --retry-connrefused http://127.0.0.1:8080/readyz\n") == "ok\n"
