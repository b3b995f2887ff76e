"""The image of the Dockerfile: what the file says of it, and a real one that buildah makes."""

import json
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.pages import ROOT, page

DOCKERFILE = page("Dockerfile")
BASE = re.findall(r"^FROM (python:\S+)", DOCKERFILE, re.MULTILINE)[0]

# CI has it: there, a test that is skipped would be a hole that nobody sees.
needs_buildah = pytest.mark.skipif(
    (shutil.which("buildah") is None or os.geteuid() != 0) and "CI" not in os.environ, reason="needs buildah, and root"
)

# What the wheels of Linux may rely on, besides what Python needs itself (PEP 600).
LIBRARIES = ("libpthread.so.0", "libdl.so.2", "librt.so.1", "libm.so.6", "libgcc_s.so.1", "libstdc++.so.6")


def instructions(name: str) -> list[str]:
    """The arguments of each instruction of a name, all its lines joined."""
    return re.findall(rf"(?m)^{name} (.*)$", DOCKERFILE.replace("\\\n", ""))


def last(name: str) -> str:
    """The arguments of an instruction in the last stage."""
    return instructions(name)[-1]


def command() -> list[str]:
    """What a container runs unless it is told otherwise."""
    return [*json.loads(last("ENTRYPOINT")), *json.loads(last("CMD"))]


def health_check() -> list[str]:
    """The words of the command that says whether a container is healthy."""
    words: list[str] = json.loads(last("HEALTHCHECK").partition(" CMD ")[2])
    return words


def variables() -> dict[str, str]:
    """The environment that the image sets, without the PATH."""
    return dict(word.split("=", 1) for word in shlex.split(last("ENV")) if not word.startswith("PATH="))


class Image:
    """An image that was built from the files of the checkout."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._build(directory / "base", "--tag", f"docker.io/library/{BASE}")
        self._build(ROOT, "--tag", "hookbot", "--pull-never", "--volume", f"{directory / 'wheels'}:/wheels:ro")
        self.config: dict[str, Any] = json.loads(self._buildah("inspect", "--type=image", "hookbot"))["Docker"][
            "config"
        ]

    def _build(self, context: Path, *options: str) -> None:
        self._buildah("build", "--isolation=chroot", "--format=docker", *options, str(context))

    def _buildah(self, *words: str) -> str:
        # This driver mounts nothing that would have to be unmounted.
        places = f"--root={self._directory / 'storage'}", f"--runroot={self._directory / 'run'}"
        done = subprocess.run(
            ["buildah", "--storage-driver=vfs", *places, *words], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    @contextmanager
    def running(self) -> Iterator["Container"]:
        """A container with a network of its own, which ends with the block at the latest."""
        root = Path(self._buildah("mount", self._buildah("from", "--pull-never", "hookbot")))
        null = root / "dev" / "null"
        null.parent.mkdir(exist_ok=True)
        os.mknod(null, stat.S_IFCHR, os.makedev(1, 3))
        null.chmod(0o666)
        with Container(self.config, root) as container:
            yield container


class Container:
    """The command of an image as process 1, as its user, in its root, with its environment and no other."""

    def __init__(self, config: dict[str, Any], root: Path) -> None:
        self._config = config
        self.root = root
        self._env = dict(variable.split("=", 1) for variable in config["Env"]) | {"HOME": "/"}
        user, group = config["User"].split(":")
        self._user = ["--setuid", user, "--setgid", group]

    def __enter__(self) -> "Container":
        spaces = [
            "unshare",
            "--net",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            f"--root={self.root}",
            "--wd=/",
        ]
        self.process = subprocess.Popen(
            [*spaces, *self._user, *self._config["Entrypoint"], *self._config["Cmd"]],
            env=self._env,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout
        # It listens.
        assert self.process.stdout.readline()
        self.pid = int(Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text())
        subprocess.run(["nsenter", f"--target={self.pid}", "--net", "ip", "link", "set", "lo", "up"], check=True)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def run(self, words: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run a command in the container, as `docker exec` does."""
        enter = ["nsenter", f"--target={self.pid}", "--net", "--pid", "--root", "--wd", *self._user]
        return subprocess.run([*enter, *words], env=self._env, capture_output=True, text=True, check=False)


def build_image(directory: Path) -> Image:
    """The image, built without a network: on this machine's Python, with wheels that were downloaded before."""
    _make_base(directory / "base")
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:"]
    options = [f"--dest={directory / 'wheels'}", f"--constraint={ROOT / 'constraints.txt'}"]
    subprocess.run([*download, *options, f"{ROOT}[postgres]", "hatchling"], check=True)
    return Image(directory)


def _make_base(base: Path) -> None:
    """What stands for the image of Docker Hub: this Python, the programs that the build runs, and their libraries."""
    python, modules = Path(sys.executable).resolve(), Path(os.__file__).parent
    leave_out = shutil.ignore_patterns("site-packages", "test", "config-*", "__pycache__")
    shutil.copytree(modules, base / modules.relative_to("/"), symlinks=True, ignore=leave_out)
    programs = [python, Path("/bin/sh"), Path("/usr/bin/install")]
    extensions = [str(path) for path in (*programs, *modules.glob("lib-dynload/*.so"))]
    needed = subprocess.run(["ldd", *extensions], capture_output=True, text=True, check=True).stdout
    libraries = {Path(path) for path in re.findall(r"(/\S+) \(0x", needed)}
    [libc] = (path for path in libraries if path.name == "libc.so.6")
    for path in (*programs, *libraries, *map(libc.with_name, LIBRARIES)):
        copy = base / path.relative_to("/")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    (base / python.with_name("python").relative_to("/")).symlink_to(python.name)
    for name in ("proc", "tmp"):
        (base / name).mkdir()
    settings = f"PATH={python.parent}:/usr/bin:/bin PIP_NO_INDEX=1 PIP_FIND_LINKS=/wheels"
    (base / "Dockerfile").write_text(f"FROM scratch\nCOPY . /\nENV {settings}\n")
