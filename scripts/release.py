"""Build of a release into dist/, with checks; nothing is uploaded. ``make release`` runs it."""

import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from hookbot.version import __version__

ROOT = Path(__file__).parents[1]
NOT_IN_SDIST = (".ci/", ".github/", ".pre-commit-config.yaml")
"""Beginnings of tracked paths that are of use in a clone only."""


NEXT_STEPS = """\
{sdist} and {wheel} can be published. What remains:

 1. git tag -s v{version} -m 'hookbot {version}' && git push origin v{version}
 2. twine upload {sdist} {wheel}
 3. In an empty environment: pip install hookbot=={version} && hookbot --version
 4. On GitHub, make a release of the tag, with the entry of CHANGELOG.md as its text and both files attached.
 5. If the entry has a "Security" part, publish its advisory.
 6. Announce it in the repository's discussions.
"""


class NotReady(Exception):
    """The release cannot be published; the message is the reason."""


def main() -> None:
    """Build sdist and wheel of the current commit, check them, and run the demo with each; exit with 1 if not ready."""
    try:
        check_tree(ROOT)
        dist = ROOT / "dist"
        sdist, wheel = build(ROOT, dist)
        tracked = tracked_files(ROOT)
        check_files(sdist.name, sdist_files(sdist), expected_in_sdist(tracked))
        check_files(wheel.name, wheel_files(wheel), expected_in_wheel(tracked))
        for archive in (sdist, wheel):
            print(f"The demo, with {archive.name} in a clean environment:", flush=True)
            run_demo(archive)
        # Last, so that any commit can be tried.
        check_version(ROOT, __version__)
    except NotReady as problem:
        sys.exit(f"not to be published: {problem}")
    print(NEXT_STEPS.format(version=__version__, sdist=sdist.relative_to(ROOT), wheel=wheel.relative_to(ROOT)))


def check_tree(root: Path) -> None:
    """Raise `NotReady` if there are uncommitted changes or untracked files."""
    if changes := git(root, "status", "--porcelain"):
        raise NotReady(f"the working tree has changes; commit or remove them:\n{changes}")


def check_version(root: Path, version: str) -> None:
    """Raise `NotReady` if the version is tagged or has no dated entry in CHANGELOG.md, or changes/ has fragments."""
    if git(root, "tag", "--list", f"v{version}"):
        raise NotReady(f"v{version} is tagged already; raise the version in src/hookbot/version.py")
    if not re.search(rf"(?m)^## {re.escape(version)} \(\d{{4}}-\d\d-\d\d\)$", (root / "CHANGELOG.md").read_text()):
        raise NotReady(
            f"CHANGELOG.md has no dated entry for {version}; run `make changelog`, read the entry, commit it"
        )
    if fragments := sorted(path.name for path in (root / "changes").glob("*.*.md")):
        raise NotReady(
            f"{', '.join(fragments)} in changes/ came after the entry for {version}; "
            "raise the version in src/hookbot/version.py, run `make changelog`, read the entry, commit it"
        )


def build(root: Path, dist: Path) -> tuple[Path, Path]:
    """Build the sdist and the wheel of a tree into a folder and return their paths."""
    command = [sys.executable, "-m", "hatchling", "build", "--directory", str(dist)]
    subprocess.run(command, cwd=root, check=True, capture_output=True)
    return dist / f"hookbot-{__version__}.tar.gz", dist / f"hookbot-{__version__}-py3-none-any.whl"


def sdist_files(path: Path) -> set[str]:
    """Paths of the files in an sdist, without its top folder."""
    with tarfile.open(path) as archive:
        return {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}


def wheel_files(path: Path) -> set[str]:
    """Paths of the files in a wheel."""
    with zipfile.ZipFile(path) as archive:
        return set(archive.namelist())


def tracked_files(root: Path) -> set[str]:
    """Paths that git tracks."""
    return set(git(root, "ls-files").splitlines())


def expected_in_sdist(tracked: set[str]) -> set[str]:
    """Paths that an sdist must contain: tracked files that are of use outside a clone, and its metadata."""
    return {path for path in tracked if not path.startswith(NOT_IN_SDIST)} | {"PKG-INFO"}


def expected_in_wheel(tracked: set[str]) -> set[str]:
    """Paths that a wheel must contain: the package and its metadata."""
    metadata = ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")
    package = {path.removeprefix("src/") for path in tracked if path.startswith("src/")}
    return package | {f"hookbot-{__version__}.dist-info/{name}" for name in metadata}


def check_files(name: str, found: set[str], expected: set[str]) -> None:
    """Raise `NotReady` with the differences unless an archive holds what it should."""
    if found != expected:
        differences = [f"lacks {path}" for path in sorted(expected - found)]
        differences += [f"holds {path}" for path in sorted(found - expected)]
        raise NotReady(f"{name}: {', '.join(differences)}; see [tool.hatch.build] in pyproject.toml")


def run_demo(archive: Path) -> None:
    """Install an archive into a temporary environment and run the demo there; raise `NotReady` if that fails."""
    with tempfile.TemporaryDirectory() as environment:
        python = Path(environment) / "bin" / "python"
        run(sys.executable, "-m", "venv", environment)
        run(python, "-m", "pip", "install", "--quiet", "--constraint", ROOT / "constraints.txt", archive)
        # Not in the repository: `python -m hookbot`, which the demo runs, imports from the working directory first.
        run(python, ROOT / "examples" / "demo.py", directory=environment)


def run(*command: str | Path, directory: str | None = None) -> None:
    """Run a command to its end; raise `NotReady` if it fails."""
    words = [str(word) for word in command]
    if status := subprocess.run(words, cwd=directory, check=False).returncode:
        raise NotReady(f"`{' '.join(words)}` failed with status {status}")


def git(root: Path, *words: str) -> str:
    """Output of a git command, without newlines at its end."""
    return subprocess.run(["git", *words], cwd=root, check=True, capture_output=True, text=True).stdout.rstrip("\n")


if __name__ == "__main__":
    main()
