"""Every command against a hub that wants to hurt its client: no traceback, and nothing that controls the terminal."""

import re
import sys
from functools import partial
from pathlib import Path

import pytest

from hookbot.backoff import Backoff
from hookbot.client import Timing
from support.commands import Caller, on_terminal
from support.malicious_hub import ANSWERS, FRAMES, malicious_hub, response

pytestmark = pytest.mark.slow

MARK = "-- answered by "
"""Separates on the terminal what is shown for each hub."""
OURS = re.compile(rb"\x1b\[([0-9;]*[mK]|\?25[lh])")
"""Colours, the erasing of a line of progress, and the cursor, which is hidden meanwhile."""
HARMS = frozenset(
    [b"Traceback", b"s3cret", b"\x1b", b"\x07", b"\nhookbot: forged"]
    + [char.encode() for char in "\x9b\x9d\x84\u202e\u2066\u200b\u2028\ufeff\U000e0041"]
)
SUB = "http://s3cret@{}/sub/t"
TOKEN = "0" * 40
REQUESTS = (
    ("publish", "http://s3cret@{}/pub/t", "/dev/null"),
    ("cursors", "list", "--url", "http://s3cret@{}"),
    ("cursors", "list", "--json", "--url", "http://s3cret@{}"),
    ("cursors", "move", "--since", "all", "--url", "http://s3cret@{}", "/sub/t", "c"),
    ("cursors", "delete", "--url", "http://s3cret@{}", "/sub/t", "c"),
    ("routers", "--url", "http://s3cret@{}"),
    ("routers", "--json", "--url", "http://s3cret@{}"),
    ("alerts", "--url", "http://s3cret@{}"),
    ("budgets", "--url", "http://s3cret@{}"),
    ("quotas", "--url", "http://s3cret@{}"),
    ("refused", "--url", "http://s3cret@{}"),
    ("who", "--url", "http://s3cret@{}"),
    ("messages", "--url", "http://s3cret@{}"),
    ("message", "a", "--url", "http://s3cret@{}"),
    ("sources", "list", "--url", "http://s3cret@{}"),
    ("sources", "test", "/unsafe/a", "--url", "http://s3cret@{}"),
    ("delete", "--yes", "--topic", "t", "--url", "http://s3cret@{}"),
    ("redeliver", "a", "--url", "http://s3cret@{}"),
    ("redeliver", "--yes", "--topic", "t", "--url", "http://s3cret@{}"),
    ("retry", "--yes", "--url", "http://s3cret@{}"),
    ("login", f"http://{TOKEN}@{{}}"),
    ("trigger", "stripe", "invoice.paid", "--url", "http://s3cret@{}"),
    ("trigger", "stripe", "invoice.paid", "http://{}/", "--unsigned"),
    ("delete", "--dry-run", "--topic", "t", "--url", "http://s3cret@{}"),
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
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return Caller(monkeypatch, capfdbinary, Timing(backoff=partial(Backoff, 0.02, 0.05)))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A router that publishes nothing."""
    path = tmp_path / "quiet.py"
    path.write_text(ROUTER)
    return path


def check(
    call: Caller, monkeypatch: pytest.MonkeyPatch, file: Path, words: tuple[str, ...], hubs: dict[str, dict[str, bytes]]
) -> None:
    """Call the command against each hub, on one terminal: opening one takes longer than most calls."""
    codes = {}
    with on_terminal(monkeypatch, "stdout", "stderr") as terminal:
        for name, options in hubs.items():
            with malicious_hub(**options) as hub:
                print(MARK, name, sep="", file=sys.stderr, flush=True)
                codes[name] = call(*(word.format(hub.host, file=file) for word in words))[0]
            assert hub.requests, name

    shown = dict(zip(hubs, OURS.sub(b"", terminal).split(MARK.encode())[1:], strict=True))
    # A raw body may have lines, and so has the answer to an event.
    harms = HARMS if "--raw" not in words and "trigger" not in words else HARMS - {b"\nhookbot: forged"}
    for name, text in shown.items():
        assert [harm for harm in harms if harm in text] == [], name + text.decode()
    assert codes.items() <= {(name, code) for name in hubs for code in (0, 1, 2, 3, 4, *range(10, 20))}


@pytest.mark.parametrize("words", REQUESTS, ids=" ".join)
def test_no_answer_hurts_a_command(
    call: Caller, monkeypatch: pytest.MonkeyPatch, file: Path, words: tuple[str, ...]
) -> None:
    check(call, monkeypatch, file, words, {name: {"answer": answer} for name, answer in ANSWERS.items()})


@pytest.mark.parametrize("words", SUBSCRIPTIONS, ids=" ".join)
def test_no_frame_hurts_a_command(
    call: Caller, monkeypatch: pytest.MonkeyPatch, file: Path, words: tuple[str, ...]
) -> None:
    check(call, monkeypatch, file, words, {name: {"frames": frames} for name, frames in FRAMES.items()})


@pytest.mark.parametrize("words", REQUESTS, ids=" ".join)
def test_no_redirection_is_followed(call: Caller, words: tuple[str, ...]) -> None:
    with malicious_hub() as other:
        for status in (301, 302, 303, 307, 308):
            for location in (
                f"http://{other.host}/a?token=s3cret",
                f"//{other.host}",
                "file:///etc/passwd",
                "http://[::1/",
            ):
                with malicious_hub(answer=response(status, b"", b"Location: " + location.encode())) as hub:
                    code, out, complaints = call(*(word.format(hub.host) for word in words))

                assert code in (3, 14)
                assert str(status) in out.decode() + complaints
                assert "s3cret" not in out.decode() + complaints
                assert hub.requests == 1
        assert other.requests == 0
