"""A message with everything, and strategies for the parts of ids."""

from hypothesis import strategies as st

from hookbot.protocol.message import Message, format_id

EPOCHS = st.text("abcdefghijklmnopqrstuvwxyz", min_size=8, max_size=8)
POSITIONS = st.integers(0, 10**15 - 1)
MESSAGE = Message(
    topic="github.com/repo/acme/app",
    body=b'{"ref":"x"}',
    headers=(("Content-Type", "application/json"), ("X-GitHub-Event", "push"), ("x-github-event", "again")),
    query="extra-metadata=github",
    id=format_id("abcdefgh", 7),
    time_us=1767323045_678901,
)
