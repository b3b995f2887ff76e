"""Findings of ``hookbot doctor``."""

import time
from email.utils import formatdate

import pytest

from hookbot.cli.findings import ADVICE, MAX_SKEW_S, Check, Finding, compare_clocks


def test_every_check_has_advice() -> None:
    assert set(ADVICE) == set(Check)


@pytest.mark.parametrize(
    ("finding", "printed"),
    [
        (Finding(Check.TCP, True, "connected"), "ok      tcp        connected\n"),
        (Finding(Check.HEARTBEAT, None, "skipped"), "-       heartbeat  skipped\n"),
        (
            Finding(Check.TOKEN, False, "401 Unauthorized", "Make one."),
            "failed  token      401 Unauthorized\n                   Make one.\n",
        ),
    ],
)
def test_a_finding_is_a_line_with_its_advice_below(
    finding: Finding, printed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    finding.show()
    assert capsys.readouterr().out == printed


@pytest.mark.parametrize(
    ("skew_s", "good", "said"),
    [
        (0, True, "the clocks agree"),
        (MAX_SKEW_S, True, "the clocks agree"),
        (-MAX_SKEW_S, True, "the clocks agree"),
        (MAX_SKEW_S + 1, False, "the clock here is 6 s ahead of the hub's"),
        (-3600, False, "the clock here is 3600 s behind the hub's"),
    ],
)
def test_clocks_may_differ_by_some_seconds(
    monkeypatch: pytest.MonkeyPatch, skew_s: float, good: bool, said: str
) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_700_000_000 + skew_s)
    assert compare_clocks(formatdate(1_700_000_000, usegmt=True)) == (good, said)


@pytest.mark.parametrize("date", ["", "soon", "Mon, 99999999999999999999 Jan 2026 00:00:00 GMT", "\x1b[2J"])
def test_a_response_without_a_valid_date_is_not_compared(date: str) -> None:
    assert compare_clocks(date) == (None, "the response has no valid Date")


def test_a_finding_does_nothing_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    Finding(Check.HUB, True, "the hub is \x1b[2J\nok      token").show()

    assert "the hub is \\x1b[2J\\nok      token\n" in capsys.readouterr().out
