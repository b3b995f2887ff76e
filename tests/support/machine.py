"""A machine with a systemd of its own: a container over the files of this one, whose network nobody else is in."""

import compileall
import os
import shutil
import site
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from support import GUARD_S

ROOT = Path(__file__).parents[2]
CHECKOUT = "opt/checkout"
# Where the hierarchies are mounted that systemd uses, by their controllers.
CGROUPS = {"name=systemd": ["systemd"], "": ["unified", "."]}
PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
# In place of what pip would write into a virtual environment, which finds a Python and packages that are mounted.
HOOKBOT = """#!/bin/sh
LD_LIBRARY_PATH=/opt/python/lib exec /opt/hookbot/bin/python -m hookbot "$@"
"""


class Machine:
    """A machine that runs."""

    def __init__(self, root: Path, leader: int) -> None:
        self.root = root
        self._leader = str(leader)

    def paste(self, text: str) -> str:
        """Output of lines that root types in a checkout."""
        return self.run("bash", "-ec", f"cd /{CHECKOUT}\n{text}")

    def until(self, test: str) -> None:
        """Wait until a command succeeds."""
        self.paste(f"until {test} > /dev/null; do sleep 0.1; done")

    def run(self, *command: str, check: bool = True) -> str:
        """Output of a command on this machine."""
        entered = ["nsenter", "-t", self._leader, "-a", *command]
        done = subprocess.run(
            entered, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=2 * GUARD_S
        )
        assert done.returncode == 0 or not check, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def in_network(self, *command: str) -> list[str]:
        """A command that reaches this machine at its addresses, but has the files of the test."""
        return ["nsenter", "-t", self._leader, "-n", *command]


@contextmanager
def running_machine(directory: Path) -> Iterator[Machine]:
    """A machine with hookbot in /opt/hookbot. Skips the test where there can be none."""
    if os.geteuid() or not shutil.which("systemd-nspawn"):
        pytest.skip("needs root, and Debian's systemd-container")
    root = directory / "root"
    for one in ("files", "root"):
        (directory / one).mkdir()
    # Not every file system can be the upper one.
    _mount(directory / "files", "tmpfs", "tmpfs")
    try:
        for one in ("changed", "work"):
            (directory / "files" / one).mkdir()
        changed = f"lowerdir=/,upperdir={directory}/files/changed,workdir={directory}/files/work"
        _mount(root, "overlay", "overlay", "-o", changed)
        try:
            _install(root)
            with _cgroups(f"hookbot-{os.getpid()}") as cgroups, _booted(root, cgroups) as machine:
                yield machine
        finally:
            subprocess.run(["umount", root], check=True)
    finally:
        subprocess.run(["umount", directory / "files"], check=True)


def _mount(place: Path, kind: str, *words: str) -> None:
    done = subprocess.run(["mount", "-t", kind, *words, place], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"cannot mount here: {done.stderr}")


def _install(root: Path) -> None:
    home = root / "opt" / "hookbot"
    packages = home / "lib" / PYTHON / "site-packages"
    shutil.rmtree(home, ignore_errors=True)
    packages.mkdir(parents=True)
    shutil.copytree(ROOT / "src" / "hookbot", packages / "hookbot")
    compileall.compile_dir(packages, quiet=1)
    (packages / "others.pth").write_text("/opt/packages\n")
    (home / "pyvenv.cfg").write_text("home = /opt/python/bin\n")
    (home / "bin").mkdir()
    (home / "bin" / "python").symlink_to(f"/opt/python/bin/{PYTHON}")
    (home / "bin" / "hookbot").write_text(HOOKBOT)
    (home / "bin" / "hookbot").chmod(0o755)
    shutil.rmtree(root / CHECKOUT, ignore_errors=True)
    shutil.copytree(ROOT / "deploy", root / CHECKOUT / "deploy")


@contextmanager
def _cgroups(name: str) -> Iterator[list[Path]]:
    """Groups of processes for one machine: systemd takes those in a group of the same name for its own."""
    made = []
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, own = line.split(":", 2)
        for mounted in CGROUPS.get(controllers, ()):
            group = Path(f"/sys/fs/cgroup/{mounted}{own}/{name}")
            if (group.parent / "cgroup.procs").exists():
                group.mkdir()
                made.append(group)
                break
    try:
        yield made
    finally:
        for group in made:
            for directory, _, _ in os.walk(group, topdown=False):
                Path(directory).rmdir()


@contextmanager
def _booted(root: Path, cgroups: list[Path]) -> Iterator[Machine]:
    [packages] = site.getsitepackages()
    binds = [f"--bind-ro={sys.base_prefix}:/opt/python", f"--bind-ro={packages}:/opt/packages"]
    options = ["--quiet", "--register=no", "--keep-unit", "--console=pipe", "--private-network", "--machine=hookbot"]
    # No service of this machine: what a basic one needs, and what is started there.
    command = ["systemd-nspawn", "-D", str(root), *options, *binds, "--boot", "systemd.unit=basic.target"]

    def join() -> None:
        for group in cgroups:
            (group / "cgroup.procs").write_text(str(os.getpid()))

    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        preexec_fn=join,  # noqa: PLW1509 - it only writes
    ) as nspawn:
        try:
            machine = Machine(root, _leader(nspawn))
            machine.run("systemctl", "is-system-running", "--wait", check=False)
            yield machine
        finally:
            nspawn.terminate()


def _leader(nspawn: "subprocess.Popen[bytes]") -> int:
    """The process that is number 1 there, once it is systemd."""
    until = time.monotonic() + GUARD_S
    while time.monotonic() < until and nspawn.poll() is None:
        # One that is no more a moment later is not it.
        with suppress(FileNotFoundError, ProcessLookupError):
            for child in Path(f"/proc/{nspawn.pid}/task/{nspawn.pid}/children").read_text().split():
                if Path(f"/proc/{child}/comm").read_text() == "systemd\n" and _listens(int(child)):
                    return int(child)
        time.sleep(0.05)
    nspawn.terminate()
    pytest.skip(f"no container can boot here: {nspawn.stdout and nspawn.stdout.read()!r}")


def _listens(leader: int) -> bool:
    asked = ["nsenter", "-t", str(leader), "-a", "systemctl", "is-system-running"]
    return bool(subprocess.run(asked, capture_output=True, check=False).stdout.strip() not in (b"", b"offline"))
