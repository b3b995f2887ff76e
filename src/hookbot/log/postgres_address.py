"""The address of a log in PostgreSQL: a URL of libpq, and the schema in which the log is."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from urllib.parse import unquote

from ..errors import ConfigError, did_you_mean

DEFAULT_SCHEMA = "hookbot"

_SCHEME = re.compile(r"postgres(?:ql)?://")
# As libpq, the user's part ends at the first "@", and none has a "/".
_PARTS = re.compile(r"(?:[^@/]*@)?(?P<hosts>[^@/?]*)(?:/(?P<database>[^@?]*))?(?:\?(?P<query>[^@]*))?")
# The names that PostgreSQL keeps for itself begin with "pg_".
_SCHEMA = re.compile(r"(?!pg_)[a-z0-9_]{1,40}")
_EXAMPLE = "postgresql://user@host/database?schema=hookbot"


@dataclass(frozen=True, slots=True)
class PostgresAddress:
    """A server, or several of which one can be written to, with the database and the schema in it.

    Neither its text nor an error shows a password. Passwords that it lacks are libpq's to find: ``PGPASSWORD`` and
    ``~/.pgpass`` work.
    """

    schema: str
    _shown: str
    _url: str = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> "PostgresAddress":
        """The address of a URL. `ConfigError` if it is malformed, as far as that is known without libpq."""
        scheme = _SCHEME.match(text)
        if not scheme:
            raise ConfigError(f"an address of PostgreSQL begins with postgresql://, as {_EXAMPLE}")
        parts = _PARTS.fullmatch(text, scheme.end())
        if not parts:
            raise ConfigError(
                f"the address of PostgreSQL is malformed: write it as {_EXAMPLE}, with @ as %40 and / as %2F in"
                " a password"
            )
        others, named = [], DEFAULT_SCHEMA
        for option in filter(None, (parts["query"] or "").split("&")):
            name, _, value = option.partition("=")
            if name == "schema":
                named = unquote(value)
            else:
                others.append(option)
        if not _SCHEMA.fullmatch(named):
            raise ConfigError(
                f"the schema {named!r} is not a name that is possible: up to 40 of a-z, 0-9 and _, without pg_ before"
            )
        shown = f"postgresql://{parts['hosts']}/{parts['database'] or ''}?schema={named}"
        return cls(named, shown, text.partition("?")[0] + ("?" + "&".join(others) if others else ""))

    def __str__(self) -> str:
        return self._shown

    @property
    def hosts(self) -> Sequence[Mapping[str, str]]:
        """Parameters of a connection to each host, in order; `ConfigError` if libpq does not know one of them."""
        parameters = self._parameters()
        lists = {name: parameters.pop(name).split(",") for name in ("host", "hostaddr", "port") if name in parameters}
        count = max(map(len, lists.values()), default=1)
        for name, values in lists.items():
            # A single port is that of all hosts.
            if len(values) == 1 and name == "port":
                lists[name] = values * count
            elif len(values) != count:
                raise ConfigError(f"the address {self} has {count} hosts, but {len(values)} values of {name}")
        return [parameters | {name: values[number] for name, values in lists.items()} for number in range(count)]

    @property
    def channel(self) -> str:
        """Name of the channel on which the hubs notify each other."""
        return f"hookbot_{self.schema}"

    @property
    def lock_key(self) -> int:
        """Key of the advisory lock under which the hubs write: 63 bits that only depend on the schema."""
        return int.from_bytes(blake2b(self.channel.encode(), digest_size=8).digest(), "big") >> 1

    def _parameters(self) -> dict[str, str]:
        require_psycopg()
        import psycopg  # noqa: PLC0415

        try:
            return {name: str(value) for name, value in psycopg.conninfo.conninfo_to_dict(self._url).items()}
        # The text of libpq's error may have the password in it.
        except (psycopg.Error, UnicodeError):
            raise ConfigError(f"the address {self} is none that PostgreSQL takes{self._unknown_parameter()}") from None

    def _unknown_parameter(self) -> str:
        """The first parameter whose name libpq does not know, as the end of a message; empty if it knows all."""
        from psycopg.pq import Conninfo  # noqa: PLC0415

        known = {option.keyword.decode() for option in Conninfo.get_defaults()} | {"ssl"}
        for option in self._url.partition("?")[2].split("&"):
            name = unquote(option.partition("=")[0])
            if name and name not in known:
                return ": ".join(filter(None, [f": it has no parameter {name!r}", did_you_mean(name, known)]))
        return ""


def require_psycopg() -> None:
    """Raise `ConfigError` that says what to install, unless psycopg can be imported."""
    try:
        import psycopg  # noqa: F401, PLC0415
    except ImportError as error:
        raise ConfigError(
            f"a log in PostgreSQL needs psycopg ({error}): install it by pip install 'hookbot[postgres]'"
        ) from error
