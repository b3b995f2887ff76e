"""docs/cluster.md, and what docs/operations.md says of several hubs: both can be pasted, beside a private PostgreSQL.

examples/cluster/: its nginx in front of two hubs, and what can be checked of its compose file without Docker.
"""

import re
import shlex
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import trio

from hookbot.access.tokens import make_token
from hookbot.cli.serve import serve
from hookbot.client import listen, publish
from hookbot.hub import secret_store as store
from hookbot.protocol.message import Message
from support import KEY
from support.commands import starting
from support.hubs import HubProcess
from support.nginx import needs_nginx, running_nginx
from support.pages import blocks, lines_printed, lines_shown, page, section
from support.ports import free_ports
from support.postgres import OWNER, PostgresServer, new_schema, require_postgres, running_postgres
from support.terminal import Terminal

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples" / "cluster"
COMPOSE = page("examples/cluster/compose.yaml")
PAGE = page("docs/cluster.md")
OPERATIONS = page("docs/operations.md")
README = page("examples/cluster/README.md")
SITE = page("examples/cluster/nginx.conf")
IDS = r"(?m)^[a-z]+-\d{15}$"
COMMANDS = [re.findall('"(.*?)"', words) for words in re.findall(r"(?m)^    command: \[(.*)\]$", COMPOSE)]


def test_the_command_of_each_hub_can_be_typed_and_says_where_the_other_one_reaches_it() -> None:
    services = re.findall(r"(?m)^  (hub-\d):$", COMPOSE)

    assert len(services) == len(COMMANDS) == 2
    for service, [name, *words] in zip(services, COMMANDS, strict=True):
        assert name == serve.name
        with serve.make_context("serve", words) as context:
            assert context.params["advertise"] == f"http://{service}:8080"
        assert f"server {service}:8080 " in SITE


def test_every_variable_of_a_hub_is_one_that_it_reads() -> None:
    known = {option.envvar for option in serve.named_options().values()} | {store.KEY}
    used = set(re.findall(r"(?m)^    (HOOKBOT_\w+):", COMPOSE))

    assert len(used) == 4
    assert used - known == set()


def test_the_secrets_are_made_by_the_first_command_and_are_nowhere_in_the_file(tmp_path: Path) -> None:
    make_secrets, _ = blocks(README)[0].splitlines()
    subprocess.run(["bash", "-c", make_secrets], cwd=tmp_path, check=True)
    made = dict(line.split("=") for line in (tmp_path / ".env").read_text().splitlines())

    assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600
    assert {len(secret) for secret in made.values()} == {64}
    assert set(re.findall(r"\$\{(\w+)", COMPOSE)) == made.keys()
    assert all(value.startswith("${") for value in re.findall(r"(?:KEY|PASSWORD): (.*)", COMPOSE))
    assert ".env" in page(".gitignore").splitlines()


def test_the_image_is_that_of_the_checkout() -> None:
    [context] = re.findall(r"build: (\S+)", COMPOSE)

    assert (FOLDER / context / "Dockerfile").exists()
    # The hubs find their database by it.
    assert ".[postgres]" in page("Dockerfile")


def test_every_file_that_is_mounted_is_there() -> None:
    for name in re.findall(r"- \./(\S+?):", COMPOSE):
        assert (FOLDER / name).exists()


def test_the_commands_of_the_page_are_for_services_of_the_file() -> None:
    services = set(re.findall(r"(?m)^  ([\w-]+):$", COMPOSE))
    lines = re.findall(r"docker compose (?:exec|stop|kill|start|restart) ([\w-]+)", " ".join(README.split()))

    assert len(lines) == 5
    assert set(lines) < services
    [exec] = re.findall(r"docker compose exec \S+ (hookbot .*)", README)
    assert shlex.split(exec)[:2] == ["hookbot", "make-tokens"]


@pytest.fixture
async def hubs(postgres: PostgresServer, tmp_path: Path) -> AsyncIterator[list[HubProcess]]:
    """Two hubs with the commands of the file."""
    async with starting() as start:
        options = "--store", f"{postgres.url}?schema={new_schema()}", "--trust-proxy", "1"
        made = [HubProcess(start, tmp_path, *words, *options) for _, *words in COMMANDS]
        for hub in made:
            await hub.start()
        yield made


@pytest.fixture
async def url_of(hubs: list[HubProcess], tmp_path: Path) -> AsyncIterator[Callable[[str], str]]:
    """URL of a path at the proxy."""
    [port] = free_ports(1)
    site = SITE.replace("listen 80;", f"listen 127.0.0.1:{port};")
    for number, hub in enumerate(hubs, 1):
        site = site.replace(f"hub-{number}:8080", f"127.0.0.1:{hub.port}")
    async with running_nginx(site, tmp_path):
        yield lambda path: f"http://{make_token(KEY, path)}@127.0.0.1:{port}{path}"


async def hear(url: str, bodies: list[bytes], *, task_status: trio.TaskStatus[None]) -> None:
    """Hear exactly these bodies, in this order."""
    async with listen(url) as messages:
        task_status.started()
        for body in bodies:
            message = await anext(messages)
            assert isinstance(message, Message)
            assert message.body == body


@pytest.mark.slow
@needs_nginx
async def test_listeners_behind_the_proxy_miss_nothing_when_a_hub_is_killed(
    hubs: list[HubProcess], url_of: Callable[[str], str]
) -> None:
    async with trio.open_nursery() as listening:
        for _ in range(4):
            await listening.start(hear, url_of("/sub/x"), [b"before", b"after"])
        await publish(url_of("/pub/x"), b"before")
        await hubs[0].kill()
        await publish(url_of("/pub/x"), b"after")


@pytest.fixture
def server(terminal: Terminal) -> Iterator[PostgresServer]:
    """A server that is empty, and the one of this machine for who types into the terminal."""
    for name in ("psql", "pg_dump", "pg_restore"):
        terminal.program(name, f'exec {require_postgres() / name} "$@"')
    terminal.program("sudo", f'[ "$1 $2" = "-u {OWNER}" ] && shift 2 && PGUSER={OWNER} exec "$@"')
    with running_postgres() as server:
        server.execute("DROP DATABASE hookbot", database="postgres")
        terminal.paste(f"export PGHOST=127.0.0.1 PGPORT={server.port}\n")
        yield server


@pytest.mark.slow
def test_two_hubs_on_one_server_can_be_pasted(server: PostgresServer, terminal: Terminal) -> None:
    part = section(PAGE, "Try it on one server")

    output = "".join(terminal.paste(block) for block in blocks(part))

    assert lines_shown(part) - lines_printed(output) == set(), output
    assert server.execute("SELECT tableowner FROM pg_tables WHERE tablename = 'log'") == [("hookbot",)]


@pytest.mark.slow
def test_a_backup_can_be_pasted_and_restored_without_giving_an_id_twice(
    server: PostgresServer, terminal: Terminal, tmp_path: Path
) -> None:
    role, hubs, *_ = blocks(section(PAGE, "Try it on one server"))
    back_up, restore = (
        block.replace("@db.example.com", "@127.0.0.1").replace("/var/backups", str(tmp_path))
        for block in blocks(section(OPERATIONS, "Several hubs with one log"))
    )
    urls = "".join(
        f'{way.upper()}="$(hookbot make-tokens -U http://127.0.0.1:8082 /{way}/x)"\n' for way in ("pub", "sub")
    )
    ids = "hookbot listen --json --since all --no-follow \"$SUB\" 2> errors | grep -o '[a-z]*-[0-9]\\{15\\}'\n"
    terminal.paste(f'{role}{hubs}{urls}curl -d first "$PUB"\n{back_up}curl -d second "$PUB"\n')
    # What the hubs log is on the same terminal.
    [first, second] = re.findall(IDS, terminal.paste(ids))

    _make_key, _, start = hubs.partition("\n")
    terminal.paste(f"kill %1 %2; wait\n{restore}{start}")
    terminal.paste('curl -d third "$PUB"\n')

    gap = terminal.paste(f'hookbot listen --since {second} --limit 1 "$SUB"\n')
    assert "are missing (failover)" in gap
    assert "third" in gap
    assert re.findall(IDS, terminal.paste(ids)) == [first, f"{first[:-7]}1000002"]
