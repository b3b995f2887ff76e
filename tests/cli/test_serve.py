"""``hookbot serve``: its options and its reload."""

import gc
import os
import pty
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
import httpx
import pytest

from hookbot.access.tokens import make_token
from hookbot.cli.configure import find_config
from hookbot.cli.main import cli
from hookbot.cli.serve import find_config_again, raise_file_limit, serve
from hookbot.errors import ConfigError
from support import GUARD_S
from support.commands import Caller, signalled_after
from support.ports import free_ports

pytestmark = pytest.mark.usefixtures("environment")


def test_as_many_files_as_the_system_gives_can_be_open() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        raise_file_limit()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        assert soft == hard
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_without_a_limit_of_files_there_is_nothing_to_raise(monkeypatch: pytest.MonkeyPatch) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    # As on Windows, where there is no such module
    monkeypatch.setitem(sys.modules, "resource", None)
    raise_file_limit()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == before


def test_a_reload_reads_the_files_again_and_reports_one_that_has_gone(tmp_path: Path) -> None:
    file, revoked = tmp_path / "hookbot.toml", tmp_path / "revoked"
    file.write_text('keep = "1h"')
    revoked.write_text("old.ci\n")
    parent = click.Context(cli, obj={"key": "k", "github_secret": None})
    with serve.make_context("serve", ["--config", str(file), "--revoked", str(revoked)], parent=parent) as context:
        file.write_text('keep = "2h"')
        revoked.write_text("old.ci\nlaptop\n")

        config = find_config_again(context)

        assert config.retention.max_age_s == 7200
        assert config.revoked == {"old.ci", "laptop"}
        revoked.unlink()
        with pytest.raises(ConfigError, match="revoked"):
            find_config_again(context)


def test_a_reload_makes_no_new_key(tmp_path: Path) -> None:
    parent = click.Context(cli, obj={"key": None, "github_secret": None})
    with serve.make_context("serve", [], parent=parent) as context:
        key = find_config(context).key
        assert find_config_again(context).key.value == key.value
        (tmp_path / "data" / "key").unlink()
        with pytest.raises(ConfigError):
            find_config_again(context)


@pytest.fixture
def process_as_it_was() -> Iterator[None]:
    """Undo the changes that a hub makes to its process."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)
    gc.unfreeze()


@pytest.mark.usefixtures("process_as_it_was")
def test_a_hub_runs_until_sigterm(call: Caller) -> None:
    [port] = free_ports(1)

    def wait_until_up() -> None:
        while True:
            with suppress(httpx.TransportError):
                httpx.get(f"http://127.0.0.1:{port}/status").raise_for_status()
                return
            time.sleep(0.01)

    with signalled_after(wait_until_up, signal.SIGTERM):
        code, out, err = call("serve", "--bind", f"127.0.0.1:{port}", "--store", "memory:")

    assert code == 0, err
    assert out.decode().startswith(f"hookbot listens on http://127.0.0.1:{port}\n")


def start(data_dir: Path, stdout: int) -> subprocess.Popen[Any]:
    args = ["--bind", "127.0.0.1:0", "--data-dir", str(data_dir), "--store", "memory:", "--router", "github"]
    return subprocess.Popen(
        [sys.executable, "-m", "hookbot", "serve", *args], stdout=stdout, stderr=subprocess.PIPE, text=True
    )


def stop(hub: subprocess.Popen[Any]) -> tuple[int, str]:
    hub.send_signal(signal.SIGTERM)
    _, log = hub.communicate(timeout=GUARD_S)
    return hub.returncode, log


def secrets_in(data_dir: Path) -> list[str]:
    return [(data_dir / name).read_text().strip() for name in ("key", "github-secret")]


@pytest.mark.slow
def test_where_nobody_watches_a_hub_shows_files_and_no_secret(tmp_path: Path) -> None:
    hub = start(tmp_path, subprocess.PIPE)
    assert hub.stdout is not None
    said = "".join(iter(hub.stdout.readline, "  Events:        any; then listen to github.com/repo/OWNER/NAME\n"))
    code, log = stop(hub)

    key, github_secret = secrets_in(tmp_path)
    assert code == 0
    assert str(tmp_path / "key") in said
    assert f"the contents of {tmp_path / 'github-secret'}" in said
    for secret in (key, github_secret, make_token(key, "/pub/hello"), make_token(key, "/sub/hello")):
        assert secret not in said
        assert secret not in log


@pytest.mark.slow
def test_on_a_terminal_a_hub_shows_what_to_paste(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    hub = start(tmp_path, theirs)
    os.close(theirs)
    said = ""
    while "Events:" not in said:
        said += os.read(ours, 4096).decode()
    code, log = stop(hub)
    os.close(ours)

    key, github_secret = secrets_in(tmp_path)
    assert code == 0
    assert re.search(rf"curl .* http://{make_token(key, '/pub/hello')}@127\.0\.0\.1:\d+/pub/hello", said)
    assert github_secret in said
    assert key not in said
    assert github_secret not in log
