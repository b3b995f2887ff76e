"""Large bodies in the SQLite log: read and written by themselves, without the copies that a row takes.

To put a body into a row or take it out of one, SQLite copies it two or three times. What is written is even kept: the
`sqlite3` module does not clear the values of a statement before it is used again.
"""

import sqlite3

# Below this size, a statement with many rows is faster.
ROW_BYTES = 64 << 10


def is_apart(body: bytes) -> bool:
    """True if the body is written by `write_body` after its row."""
    return len(body) > ROW_BYTES


def in_row(body: bytes) -> bytes:
    """The body as it is inserted with its row: empty if it `is_apart`."""
    return b"" if is_apart(body) else body


def write_body(connection: sqlite3.Connection, position: int, body: bytes) -> None:
    """Write the body of a message whose row was inserted in the same transaction."""
    connection.execute("UPDATE body SET body = zeroblob(?) WHERE position = ?", (len(body), position))
    with connection.blobopen("body", "body", position) as blob:
        blob.write(body)


def read_body(connection: sqlite3.Connection, position: int) -> bytes:
    """Read the body of a message of any size. Raises `sqlite3.DatabaseError` if it is gone or damaged."""
    with connection.blobopen("body", "body", position, readonly=True) as blob:
        return blob.read()
