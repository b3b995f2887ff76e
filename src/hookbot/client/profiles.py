"""Profiles: the hubs that a user is logged in to, each with a token, in a file that nobody else can read."""

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import mkstemp
from typing import Any, Self
from urllib.parse import quote

from ..errors import ConfigError, did_you_mean, system_reason
from ..file_locks import lock
from .address import Address

FILE = "profiles.json"
# That of a hub is its host and port.
_NAME = re.compile(r"[A-Za-z0-9._:\[\]-]{1,100}")
_OTHERS = 0o077


@dataclass(frozen=True, slots=True)
class Profile:
    """A hub, and a token for it."""

    name: str
    url: str
    """URL of the hub, without a slash at the end."""
    token: str = field(repr=False)
    """A narrowed token, which tells what it opens."""

    def url_at(self, path: str, token: str | None = None) -> str:
        """URL of a decoded path of the hub, with the token of the profile or another one as its user name."""
        scheme, _, place = self.url.partition("://")
        return f"{scheme}://{token or self.token}@{place}{quote(path, safe='/:@!$&()*+,;=~')}"

    def at(self, path: str, token: str | None = None) -> Address:
        """Address of a decoded path of the hub, as `url_at`."""
        return Address.parse(self.url_at(path, token))


@dataclass(frozen=True, slots=True)
class Profiles:
    """The profiles of a user by their names, and the name of the one that is used if none is named."""

    by_name: Mapping[str, Profile] = field(default_factory=dict)
    default: str = ""

    @classmethod
    def read(cls, path: Path) -> Self:
        """Profiles in a file; none if it does not exist.

        Raises `ConfigError` if it cannot be read, others can read or have written it, or it holds anything else.
        """
        try:
            with path.open("rb") as file:
                _check_owner(path, os.fstat(file.fileno()))
                text = file.read()
        except (FileNotFoundError, NotADirectoryError):
            return cls()
        except OSError as error:
            raise ConfigError(f"cannot read {path}: {system_reason(error)}") from None
        try:
            saved = json.loads(text)
            found = {name: Profile(name, str(one["url"]), str(one["token"])) for name, one in saved["profiles"].items()}
            return cls(found, str(saved["default"]))
        # Not what it holds: that is a token.
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raise ConfigError(f"{path} is damaged: delete it, and log in again") from None

    def find(self, name: str | None) -> Profile | None:
        """Profile of that name, or the default one; None if there are none at all. Raises `ConfigError` for another."""
        wanted = name or self.default
        if wanted in self.by_name:
            return self.by_name[wanted]
        if wanted:
            close = did_you_mean(wanted, self.by_name) or "`hookbot profiles` lists them"
            raise ConfigError(f"there is no profile {wanted[:100]!r}; {close}")
        if self.by_name:
            raise ConfigError("no profile is the default: add --profile NAME, or choose one by hookbot profiles --use")
        return None

    def using(self, profile: Profile) -> Self:
        """The profiles with this one, in place of any of its name, as the default."""
        if not _NAME.fullmatch(profile.name):
            raise ConfigError(f"a profile has a name of letters, digits, . _ : and -, not {profile.name[:100]!r}")
        return replace(self, by_name={**self.by_name, profile.name: profile}, default=profile.name)

    def choosing(self, name: str) -> Self:
        """The profiles with that of this name as the default. Raises `ConfigError` as `find`."""
        return replace(self, default=name) if self.find(name) else self

    def without(self, profile: Profile) -> Self:
        """The profiles but for this one; the last that is left is the default."""
        left = {name: one for name, one in self.by_name.items() if name != profile.name}
        default = self.default if self.default in left else ""
        return replace(self, by_name=left, default="".join(left) if len(left) == 1 else default)

    def write(self, path: Path) -> None:
        """Replace the file in one step. Raises `OSError`."""
        saved = {name: {"url": one.url, "token": one.token} for name, one in sorted(self.by_name.items())}
        # Only its owner can read a temporary file.
        descriptor, draft = mkstemp(dir=path.parent, prefix=f".{FILE}.")
        try:
            # Windows renames no file that is open.
            with open(descriptor, "w", encoding="utf-8") as file:
                json.dump({"default": self.default, "profiles": saved}, file, indent=2)
                file.flush()
                os.fsync(descriptor)
            Path(draft).replace(path)
        except BaseException:
            Path(draft).unlink()
            raise


def profiles_file() -> Path:
    """Path of the user's profiles, in the platform's directory for configuration.

    Raises `ConfigError` for a user without a home directory.
    """
    # Only for a command that uses a profile.
    import platformdirs  # noqa: PLC0415

    # Without a home, some versions of platformdirs raise this, and others return a relative path.
    with suppress(RuntimeError):
        directory = Path(platformdirs.user_config_dir("hookbot"))
        if directory.is_absolute():
            return directory / FILE
    raise ConfigError("this user has no home directory, and so no profiles: give the whole URL")


def change_profiles(path: Path, change: Callable[[Profiles], Profiles]) -> Profiles:
    """Replace the profiles by what `change` makes of them, and return that; of several processes, one does at a time.

    Raises `ConfigError` as `Profiles.read`, or if the file cannot be written.
    """
    # A link, as some keep for their configuration, stays one.
    path = Path(os.path.realpath(path))
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _turn(path.parent):
            changed = change(Profiles.read(path))
            changed.write(path)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {system_reason(error)}") from None
    return changed


@contextmanager
def _turn(directory: Path) -> Iterator[None]:
    """Block in which one process at a time is, where a directory can be locked."""
    with ExitStack() as stack:
        # Windows opens no directories.
        with suppress(PermissionError):
            descriptor = os.open(directory, os.O_RDONLY)
            stack.callback(os.close, descriptor)
            lock(descriptor)
        yield


def _check_owner(path: Path, status: Any) -> None:
    # On Windows, the home of a user is closed to others, and modes say nothing.
    if not hasattr(os, "geteuid"):
        return
    if status.st_mode & _OTHERS:
        raise ConfigError(f"others can read {path}, which holds tokens: run `chmod 600 {path}`, and replace the tokens")
    if status.st_uid not in (0, os.geteuid()):
        raise ConfigError(f"{path} belongs to another user, who may have written it")
