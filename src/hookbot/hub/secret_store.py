"""The secrets of a hub: given, or kept in its data directory. Nothing else reads the environment or these files.

They come, in this order, from the command line, from an environment variable ``NAME``, from the file that
``NAME_FILE`` names, and from the data directory, where a first start puts what was given nowhere.
"""

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import NamedTemporaryFile

from ..errors import ConfigError

KEY = "HOOKBOT_KEY"
OLD_KEYS = "HOOKBOT_OLD_KEYS"
GITHUB_SECRET = "HOOKBOT_GITHUB_SECRET"  # noqa: S105 - the variable's name
OLD_GITHUB_SECRETS = "HOOKBOT_OLD_GITHUB_SECRETS"
KEY_FILE = "key"
OLD_KEYS_FILE = "old-keys"
GITHUB_SECRET_FILE = "github-secret"  # noqa: S105 - the file's name
OLD_GITHUB_SECRETS_FILE = "old-github-secrets"


@dataclass(frozen=True, slots=True)
class StoredSecret:
    """A secret and, where it is kept in a file, its path, which may be shown where the secret may not."""

    value: str = field(repr=False)
    path: Path | None = None
    new: bool = False
    """Whether it has just been made."""


def find_secret(
    given: str | None, name: str, environ: Mapping[str, str], kept_in: Path, *, make: bool = True
) -> StoredSecret:
    """The secret `name`, from wherever it is; else it is made and kept in `kept_in`, or `ConfigError` is raised."""
    value = given or environ.get(name)
    if value:
        return StoredSecret(value)
    if file := environ.get(f"{name}_FILE"):
        return StoredSecret(read_secret_file(Path(file), f"{name}_FILE"), Path(file))
    new = make and not os.path.exists(kept_in) and _keep_secret(kept_in, secrets.token_hex(32))
    return StoredSecret(read_secret_file(kept_in, "the data directory"), kept_in, new)


def known_secret(given: str | None, name: str, environ: Mapping[str, str], kept_in: Path) -> str | None:
    """Like `find_secret`, but None if it is nowhere: for those who only use what a hub has made."""
    if given or environ.get(name) or environ.get(f"{name}_FILE") or os.path.exists(kept_in):
        return find_secret(given, name, environ, kept_in).value
    return None


def find_lines(name: str, environ: Mapping[str, str], kept_in: Path) -> tuple[str, ...]:
    """Several secrets, one a line, from wherever they are; none, if they are nowhere."""
    if text := environ.get(name):
        return _lines(text)
    if file := environ.get(f"{name}_FILE"):
        return read_lines(Path(file), f"{name}_FILE")
    return read_lines(kept_in, "the data directory") if os.path.exists(kept_in) else ()


def read_lines(path: Path, where: str) -> tuple[str, ...]:
    """The lines of a file that are not empty; raises `ConfigError`."""
    return _lines(_read(path, where))


def read_secret_file(path: Path, where: str) -> str:
    """The first line of a file; raises `ConfigError` if there is none."""
    lines = _read(path, where).split("\n")
    if not lines[0].strip():
        raise ConfigError(f"{path} (from {where}) is empty, it should hold a secret")
    return lines[0].strip()


def resolve_secret(value: str) -> str:
    """The secret that ``env:NAME`` or ``file:PATH`` in a configuration names; anything else is the secret itself."""
    kind, _, name = value.partition(":")
    if kind == "env":
        if not os.environ.get(name):
            raise ConfigError(f"the environment has no {name}")
        return os.environ[name]
    if kind == "file":
        text = _read(Path(name), value).strip()  # all of it: a key in PEM or a JWK set has many lines
        if not text:
            raise ConfigError(f"{name} (from {value}) is empty, it should hold a secret")
        return text
    return value


def _read(path: Path, where: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} (from {where}) cannot be read: {error}") from None


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def _keep_secret(path: Path, value: str) -> bool:
    """Make a file that only its owner can read, with all of it there at once; False if somebody else was faster."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", encoding="utf-8") as draft:
            draft.write(value + "\n")
            draft.flush()
            os.fsync(draft.fileno())
            os.link(draft.name, path)
    except FileExistsError:
        return False
    except OSError as error:
        raise ConfigError(f"a secret cannot be kept in {path}: {error}") from None
    return True
