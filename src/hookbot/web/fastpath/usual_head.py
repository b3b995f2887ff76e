"""Heads as a client usually sends them: what decides about a publish is repeated, but for its topic, ids and the like.

Reading such a head is comparing it with the first one. It recognises only what parsing and access control would read
and admit in the same way.
"""

from typing import NamedTuple

from ...access.admitted import NEVER_STORED, AdmittedPublish
from ...access.client_address import TrustedProxies
from ...access.control import AccessControl
from ...access.permits import Permit, key_of
from ...protocol.fields import is_length, is_plain
from ...protocol.http1 import Head
from ...protocol.message import Headers
from ...protocol.paths import is_for_app
from ...protocol.publish import PublishRequest
from ..bodies import IncomingBody
from .context import Exchange

# Heads of real senders are smaller; the limit bounds what an idle connection costs.
MAX_BYTES = 2 << 10

# Headers that decide about a publish with a token, or about its response. All others are only stored.
DECISIVE = frozenset(
    {
        *("host", "origin", "x-forwarded-for", "hookbot-hops", "idempotency-key", "accept"),
        *("connection", "upgrade", "expect", "transfer-encoding"),
    }
)
PATH, TOKEN, LENGTH = "", "authorization", "content-length"
"""Other parts that are more than stored: the path of the request line, and two headers."""


class _Slot(NamedTuple):
    """A place for a value that may be another one."""

    before: str
    """All that stands between the slot before and this one."""
    end: str
    """The character behind it."""
    kind: str
    """The name of a header in lower case, or `PATH`."""
    place: int | None
    """Its place in the stored headers; None if it is not stored."""


_Like = tuple[Permit, int, Headers]


class UsualHead:
    """The head of an admitted publish, for those that differ from it only in headers that decide nothing.

    They may also have another path and token, if these have a permit.
    """

    __slots__ = (
        *("_data", "_different", "_key", "_proxies", "_rest", "_slots", "_stored", "_values"),
        *("body", "exchange", "publish"),
    )

    def __init__(
        self, data: bytes, exchange: Exchange, body: IncomingBody, publish: PublishRequest, proxies: TrustedProxies
    ) -> None:
        self.exchange = exchange
        self.body = body
        """The exchange of its request and the body of that, and then of others like it that come whole."""
        self.publish = publish
        self._data = data
        self._proxies = proxies
        """Those by which the client of the publish is known."""
        self._different: set[int] = set()
        """Numbers of the lines in which others have differed."""
        self._slots: list[_Slot] = []
        self._rest = ""
        """All that stands behind the last slot; empty until this head is compared with another one."""
        self._stored: list[tuple[str, str]] = []
        request = publish.http
        # If one of the others is refused, this request stands for it in the log, and each has a trace of its own.
        request.fields.pop("traceparent", None)
        self._key = key_of(request)
        length = str(exchange.head.length)
        self._values = {PATH: request.target.decode(), TOKEN: request.header(TOKEN), LENGTH: length}

    @staticmethod
    def suits(data: bytes, head: Head, admitted: AdmittedPublish) -> bool:
        """True if others may be compared with this head."""
        # Each message has an idempotency key of its own.
        plain = not (head.chunked or head.expects_continue or admitted.request.idempotency_key)
        plain = plain and admitted.source is None and not admitted.asks_reply
        return admitted.has_token and plain and len(data) <= MAX_BYTES

    def read(self, data: bytes, access: AccessControl) -> _Like | None:
        """The permit of a head like this one, the length of its body and the headers to store; None for any other."""
        text, at = data.decode("latin-1"), 0
        values, stored = self._values.copy(), self._stored.copy()
        for before, end, kind, place in self._slots:
            if not text.startswith(before, at):
                break
            begin = at + len(before)
            at = text.find(end, begin)
            values[kind] = value = text[begin:at].strip(" ")
            if not is_plain(value):
                return None
            if place is not None:
                stored[place] = stored[place][0], value
        else:
            if text[at:] == self._rest:
                return self._admit(access, values, tuple(stored))
        return self.read(data, access) if self._make_slots(text) else None

    def _admit(self, access: AccessControl, values: dict[str, str], stored: Headers) -> _Like | None:
        method, usual_path, _, protocols = self._key
        path, length = values[PATH].encode(), values[LENGTH]
        # By others, the client may be another one. And what a query asks for is not a part of a permit.
        if access.clients.proxies is not self._proxies or (path != usual_path and (b"?" in path or is_for_app(path))):
            return None
        if not is_length(length):
            return None
        key, size = (method, path, values[TOKEN], protocols), int(length)
        permit = access.find_permit(key, self.publish.http.client, size)
        return None if permit is None else (permit, size, stored)

    def _make_slots(self, text: str) -> bool:
        """Make a slot of each line in which a head differs from this one; False if there is none, or it may not."""
        usual, lines, request = self._data.decode("latin-1").split("\r\n"), text.split("\r\n"), self.publish.http
        different = {number for number, (one, other) in enumerate(zip(usual, lines, strict=False)) if one != other}
        kinds = [PATH, *[name.lower() for name, _ in request.headers]]
        if not len(lines) == len(usual) == len(kinds) + 2 or (self._rest and different <= self._different):
            return False
        # Of two tokens, each would be taken for the only one.
        decisive = DECISIVE if kinds.count(TOKEN) == 1 else DECISIVE | {TOKEN}
        if any(kinds[number] in decisive for number in different):
            return False
        self._different |= different
        self._stored, self._slots, before = [], [], ""
        for number, (line, kind, header) in enumerate(zip(usual, kinds, [("", ""), *request.headers], strict=False)):
            place = None if kind == PATH or kind in NEVER_STORED else len(self._stored)
            if place is not None:
                self._stored.append(header)
            if number in self._different:
                start, end, rest = (f"{header[0]}:", "\r", "") if number else ("POST ", " ", line[line.rindex(" ") :])
                self._slots.append(_Slot(before + start, end, kind, place))
                before = f"{rest}\r\n"
            else:
                before += f"{line}\r\n"
        self._rest = before + "\r\n"
        return True
