"""Addresses that a hub listens on, as ``--bind`` takes them."""

import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigError
from ..protocol.urls import ascii_host

# A name, an IPv4 address, or an IPv6 address with or without brackets.
_TCP = re.compile(r"((?P<scheme>https?)://)?(\[)?(?P<host>[\w.-]*|[0-9a-fA-F:.]+(%\w+)?)(?(3)\]):(?P<port>[0-9]{1,5})")
_UNIX = re.compile(r"unix:(?P<path>[^,\0]+)(,mode=(?P<mode>[0-7]{3,4}))?")


@dataclass(frozen=True, slots=True)
class BindAddress:
    """Address of a listening socket: a host (empty for every address) and a port, or the path of a Unix socket."""

    host: str = ""
    port: int = 0
    scheme: str = ""
    """``http`` if its connections are not encrypted although the hub has a certificate; ``https`` if it needs one."""
    path: Path | None = None
    mode: int = 0o660
    """Mode of the Unix socket's file: those who may write to it may connect."""

    @classmethod
    def parse(cls, text: str) -> "BindAddress":
        """Parse ``:PORT``, ``HOST:PORT``, ``[IPV6]:PORT``, either after ``http://`` or ``https://``, or ``unix:PATH``.

        The mode of a Unix socket may follow: ``unix:PATH,mode=666``. Raises `ConfigError`.
        """
        if unix := _UNIX.fullmatch(text):
            return cls(path=Path(unix["path"]), mode=int(unix["mode"] or "660", 8), scheme="http")
        match = _TCP.fullmatch(text)
        if match and int(match["port"]) <= 65535:
            with suppress(ValueError):
                ascii_host(match["host"])
                return cls(match["host"], int(match["port"]), match["scheme"] or "")
        raise ConfigError(
            "an address to listen on must be like :8080 (every address), 127.0.0.1:8080, [::1]:8080 or "
            f"unix:/run/hookbot.sock, not {text!r}"
        )
