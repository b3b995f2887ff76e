"""Every command against a hub that wants to hurt its client: no traceback, and nothing that controls the terminal."""

from functools import partial
from pathlib import Path

import pytest

from hookbot.backoff import Backoff
from hookbot.client import Timing
from support.commands import Caller, on_terminal
from support.malicious_hub import ANSWERS, FRAMES, MaliciousHub, malicious_hub

pytestmark = pytest.mark.slow

SUB = "http://s3cret@{}/sub/t"
REQUESTS = (
    ("publish", "http://s3cret@{}/pub/t", "/dev/null"),
    ("cursors", "list", "--url", "http://s3cret@{}"),
    ("cursors", "list", "--json", "--url", "http://s3cret@{}"),
    ("cursors", "move", "--since", "all", "--url", "http://s3cret@{}", "/sub/t", "c"),
    ("cursors", "delete", "--url", "http://s3cret@{}", "/sub/t", "c"),
    ("routers", "--url", "http://s3cret@{}"),
    ("routers", "--json", "--url", "http://s3cret@{}"),
    ("doctor", "--wait", "0", SUB),
    ("listen", "--no-follow", SUB),
)
SUBSCRIPTIONS = (
    ("listen", "-H", "X-A", SUB),
    ("listen", "--no-follow", "--json", SUB),
    ("listen", "--no-follow", "--raw", SUB),
    ("latest", "--limit", "2", SUB),
    ("forward", SUB, "http://{}/target", "--max-attempts", "1"),
    ("exec", "--max-attempts", "1", SUB, "--", "true"),
    ("replay", "--since", "all", SUB, "--exec", "--max-attempts", "1", "--", "true"),
    ("doctor", "--wait", "0", SUB),
    ("route", "{file}", "--url", SUB),
)

ROUTER = """
class Quiet:
    name = "quiet"
    topics = ("t",)
    async def route(self, message, publish):
        pass
"""


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes], tmp_path: Path) -> Caller:
    monkeypatch.setenv("HOOKBOT_DATA_DIR", str(tmp_path))
    return Caller(monkeypatch, capfdbinary, Timing(backoff=partial(Backoff, 0.02, 0.05)))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A router that publishes nothing."""
    path = tmp_path / "quiet.py"
    path.write_text(ROUTER)
    return path


def check(call: Caller, monkeypatch: pytest.MonkeyPatch, hub: MaliciousHub, words: tuple[str, ...], file: Path) -> None:
    shown = [word.format(hub.host, file=file) for word in words]
    with on_terminal(monkeypatch, "stdout", "stderr") as terminal:
        code = call(*shown)[0]

    assert hub.requests
    assert code in (0, 1, 3, 4, *range(10, 20))
    # A raw body may have lines.
    forged = (b"\nhookbot: forged",) if "--raw" not in words else ()
    for harm in (b"Traceback", b"s3cret", b"\x1b]", b"\x07", "\x9b".encode(), "\u202e".encode(), *forged):
        assert harm not in terminal, bytes(terminal)


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("words", REQUESTS, ids=" ".join)
def test_no_answer_hurts_a_command(
    call: Caller, monkeypatch: pytest.MonkeyPatch, file: Path, words: tuple[str, ...], answer: str
) -> None:
    with malicious_hub(answer=ANSWERS[answer]) as hub:
        check(call, monkeypatch, hub, words, file)


@pytest.mark.parametrize("frames", FRAMES)
@pytest.mark.parametrize("words", SUBSCRIPTIONS, ids=" ".join)
def test_no_frame_hurts_a_command(
    call: Caller, monkeypatch: pytest.MonkeyPatch, file: Path, words: tuple[str, ...], frames: str
) -> None:
    with malicious_hub(frames=FRAMES[frames]) as hub:
        check(call, monkeypatch, hub, words, file)
