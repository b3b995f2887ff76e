"""What a hub is started with. Nothing else reads the environment or the files of the data directory.

Secrets come, in this order, from the command line, from an environment variable ``NAME``, from the file that
``NAME_FILE`` names, and from the data directory, where a first start puts what was given nowhere.
"""

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import NamedTemporaryFile

import platformdirs

from ..access.client_address import TrustedProxies
from ..access.rate_limits import FAILURES, Rate
from ..errors import ConfigError
from ..log.retention import Retention
from .config_file import ConfigFile

KEY = "HOOKBOT_KEY"
OLD_KEYS = "HOOKBOT_OLD_KEYS"
GITHUB_SECRET = "HOOKBOT_GITHUB_SECRET"  # noqa: S105 - the variable's name
OLD_GITHUB_SECRETS = "HOOKBOT_OLD_GITHUB_SECRETS"
KEY_FILE = "key"
OLD_KEYS_FILE = "old-keys"
GITHUB_SECRET_FILE = "github-secret"  # noqa: S105 - the file's name
OLD_GITHUB_SECRETS_FILE = "old-github-secrets"
RANGES_FILE = "ranges.json"


@dataclass(frozen=True, slots=True)
class StoredSecret:
    """A secret and, where it lies in a file, that file: what may be shown where the secret may not."""

    value: str = field(repr=False)
    path: Path | None = None
    new: bool = False
    """Whether it was made just now."""


@dataclass(frozen=True, slots=True)
class Config:
    """Everything a hub needs to know, checked."""

    key: StoredSecret
    data_dir: Path
    old_keys: tuple[str, ...] = field(default=(), repr=False)
    github_secrets: tuple[StoredSecret, ...] = ()
    bind: str = ":8080"
    store: str = "sqlite:"
    routers: tuple[str, ...] = ()
    file: ConfigFile = field(default_factory=ConfigFile)
    retention: Retention = field(default_factory=Retention)
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_client_authorities: Path | None = None
    """Who signs the certificates that clients may show."""
    revoked: frozenset[str] = frozenset()
    """Names of narrowed tokens that are good no more."""
    sha1_tokens_live_only: bool = False
    """Whether tokens as the ancestor makes them, and what is narrowed from them, show no history."""
    trusted_proxies: TrustedProxies = field(default_factory=TrustedProxies)
    failure_rate: Rate = FAILURES
    """How often one address may come without a good token or signature."""
    publish_rate: Rate | None = None
    """How often one address may publish."""
    max_subscribers: int | None = None
    max_subscribers_per_token: int | None = None
    unsafe_prefixes: tuple[str, ...] = ("",)
    sha1_tokens: bool = True
    cors_origins: tuple[str, ...] = ()
    door: bool = True
    max_body_bytes: int = 25 << 20
    """GitHub's own cap is 25 MB."""
    max_receiving_bytes: int = 256 << 20
    """All bodies that are being received at once."""
    heartbeat_s: float = 15
    ping_s: float = 30
    deaf_s: float = 90
    """A websocket subscriber of whom nothing came for so long is gone."""
    stall_s: float = 90
    """A subscriber who takes nothing for so long is cut off (the ancestor's write deadline)."""
    slow_s: float = 10
    """A sender of whom nothing came for so long, in the middle of a request, is cut off."""
    grace_s: float = 10

    @property
    def leave_s(self) -> float:
        """How long connections have to end when the hub is told to stop. The rest of the grace is for saving."""
        return 0.9 * self.grace_s

    @property
    def keys(self) -> tuple[str, ...]:
        """The key that makes tokens, then the old ones whose tokens are still good."""
        return (self.key.value, *self.old_keys)


def parse_address(text: str) -> tuple[str, int]:
    """Host (empty: every address) and port of ``:PORT``, ``HOST:PORT`` or ``[IPV6]:PORT``; raises `ConfigError`."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise ConfigError(f"an address to listen on is [HOST]:PORT, not {text!r}")
    return host.removeprefix("[").removesuffix("]"), int(port)


def default_data_dir() -> Path:
    """The platform's directory for the state of a program, for example ``~/.local/state/hookbot``."""
    return Path(platformdirs.user_state_dir("hookbot"))


def find_secret(
    given: str | None, name: str, environ: Mapping[str, str], kept_in: Path, *, make: bool = True
) -> StoredSecret:
    """A secret from wherever it is. Nowhere: it is made and kept in the file `kept_in`, or `ConfigError` is raised."""
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
    """What the lines of a file say; raises `ConfigError`."""
    return _lines(_read(path, where))


def read_secret_file(path: Path, where: str) -> str:
    """The first line of a file; raises `ConfigError` if there is none."""
    lines = _read(path, where).split("\n")
    if not lines[0].strip():
        raise ConfigError(f"{path} (from {where}) is empty, it should hold a secret")
    return lines[0].strip()


def resolve_secret(value: str) -> str:
    """What ``env:NAME`` or ``file:PATH`` in a configuration stands for; anything else stands for itself."""
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
