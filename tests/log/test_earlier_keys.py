"""Keys of version 1 of the schema: recognised until they expire, and mistaken for no others."""

from collections.abc import Sequence
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import pytest

from hookbot.errors import KeyReused
from hookbot.log.deduplication import Outcome, digest_of
from hookbot.log.retention import Retention
from hookbot.log.sqlite import open_sqlite_log
from hookbot.log.sqlite_file import open_log_file
from hookbot.log.sqlite_schema import STEPS
from hookbot.protocol.message import Draft, Duplicate, KeyKind, Message, Once

EPOCH = "abcdefgh"
TIME_US = 1_700_000_000_000_000
BODY = b"paid"
FINGERPRINT = sha256(BODY).digest()
DAY = Retention(dedup_s=86400)
DAY_US = 86_400_000_000


def make_earlier_log(directory: Path, *keys: tuple[str, str, bytes]) -> None:
    """A log that had a message for each key: a scope, a text and a fingerprint, stored as version 1 did."""
    with closing(open_log_file(directory, steps=STEPS[:1])) as file:
        file.writer.execute("UPDATE identity SET epoch = ?", (EPOCH,))
        for position, (scope, key, fingerprint) in enumerate(keys, start=1):
            row = (0, position, digest_of(scope, key), TIME_US, fingerprint)
            file.writer.execute("INSERT INTO once VALUES (?, ?, ?, ?, ?)", row)
        file.writer.execute("UPDATE half SET head = ?1, passed = ?1 WHERE unsafe = 0", (len(keys),))


async def append(directory: Path, *keys: Once) -> Sequence[Outcome]:
    async with open_sqlite_log(directory, clock_us=lambda: TIME_US) as log:
        return await log.append([Draft("a", BODY, once=(once,)) for once in keys])


@pytest.mark.parametrize(
    ("scope", "fingerprint", "once"),
    [
        ("orders/eu", FINGERPRINT, Once("idempotency", "orders/eu", "k", fingerprint=FINGERPRINT)),
        ("replay /unsafe/stripe/", b"", Once("replay", "/unsafe/stripe/", "k")),
        ("single use /unsafe/acme", b"", Once("single use", "/unsafe/acme", "k")),
    ],
)
async def test_a_repeat_of_what_an_earlier_version_stored_is_known(
    tmp_path: Path, scope: str, fingerprint: bytes, once: Once
) -> None:
    make_earlier_log(tmp_path, (scope, "k", fingerprint))

    # Twice: it is not stored again under its new digest either.
    for _ in range(2):
        assert list(await append(tmp_path, once)) == [Duplicate(f"{EPOCH}-000000000000001")]


async def test_a_delivery_that_an_earlier_version_stored_is_marked(tmp_path: Path) -> None:
    make_earlier_log(tmp_path, ("delivery /unsafe/github.com/org/", "k", b""))

    [message] = await append(tmp_path, Once("delivery", "/unsafe/github.com/org/", "k", exclusive=False))

    assert isinstance(message, Message)
    assert message.duplicate_of == f"{EPOCH}-000000000000001"


async def test_an_earlier_key_with_another_body_is_refused(tmp_path: Path) -> None:
    make_earlier_log(tmp_path, ("orders/eu", "k", FINGERPRINT))

    [outcome] = await append(tmp_path, Once("idempotency", "orders/eu", "k", fingerprint=sha256(b"open").digest()))

    assert isinstance(outcome, KeyReused)


@pytest.mark.parametrize("kind", ["replay", "single use", "delivery"])
async def test_an_earlier_publisher_could_not_write_the_key_of_a_source(tmp_path: Path, kind: KeyKind) -> None:
    make_earlier_log(tmp_path, (f"{kind} /unsafe/stripe/", "evt_1", FINGERPRINT))

    [message] = await append(tmp_path, Once(kind, "/unsafe/stripe/", "evt_1"))

    assert isinstance(message, Message)
    assert message.duplicate_of is None


async def test_an_earlier_delivery_is_not_taken_for_a_publish(tmp_path: Path) -> None:
    make_earlier_log(tmp_path, ("replay /unsafe/stripe/", "evt_1", b""))

    [message] = await append(tmp_path, Once("idempotency", "replay /unsafe/stripe/", "evt_1", fingerprint=FINGERPRINT))

    assert isinstance(message, Message)


async def test_once_the_earlier_keys_have_expired_nothing_looks_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_earlier_log(tmp_path, ("orders/eu", "k", FINGERPRINT))
    once = Once("idempotency", "orders/eu", "new", fingerprint=FINGERPRINT)
    async with open_sqlite_log(tmp_path, clock_us=lambda: TIME_US) as log:
        await log.append([Draft("orders/eu", BODY, once=(once,))])
        while await log.trim(DAY, now_us=TIME_US + DAY_US + 1):
            pass
        monkeypatch.setattr("hookbot.log.sqlite_keys.earlier_digest", None)

        [message] = await log.append([Draft("orders/eu", BODY, once=(once,))])

    assert isinstance(message, Message)


async def test_a_new_log_has_no_earlier_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hookbot.log.sqlite_keys.earlier_digest", None)
    once = Once("replay", "/unsafe/stripe/", "evt_1")

    [first] = await append(tmp_path, once)
    [second] = await append(tmp_path, once)

    assert isinstance(first, Message)
    assert second == Duplicate(first.id)
