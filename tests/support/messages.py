"""Messages with everything, and strategies for the parts of ids."""

from hypothesis import strategies as st

from hookbot.protocol.message import Message, Verified, format_id

EPOCHS = st.text("abcdefghijklmnopqrstuvwxyz", min_size=8, max_size=8)
EPOCH = "abcdefgh"
POSITIONS = st.integers(0, 10**15 - 1)
MESSAGE = Message(
    topic="github.com/repo/acme/app",
    body=b'{"ref":"x"}',
    headers=(("Content-Type", "application/json"), ("X-GitHub-Event", "push"), ("x-github-event", "again")),
    query="extra-metadata=github",
    id=format_id(EPOCH, 7),
    time_us=1767323045_678901,
)
FULL = Message(
    "orders",
    b'{"a": 1}',
    headers=(("Host", "hub"), ("X-A", "é")),
    query="a=b",
    verified=Verified("github", "0", 1_700_000_000.0, "/unsafe/acme"),
    hops=("github",),
    duplicate_of="abcdefgh-000000000000001",
    replay_of="abcdefgh-000000000000001",
    routed_from="abcdefgh-000000000000001",
    id=format_id(EPOCH, 2),
    time_us=3,
)
