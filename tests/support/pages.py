"""The code blocks of a page, and the lines that it shows as output."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def page(name: str) -> str:
    """Text of a page of the repository."""
    return (ROOT / name).read_text()


def section(text: str, title: str) -> str:
    """The text beneath a heading of level 2, up to the next one."""
    found = re.search(rf"(?ms)^## {re.escape(title)}\n(.*?)(?=^## |\Z)", text)
    assert found, title
    return found[1]


def blocks(text: str, kind: str = "sh") -> list[str]:
    """The code blocks of a kind."""
    return re.findall(rf"(?ms)^ *```{kind}\n(.*?)^ *```$", text)


def lines_shown(text: str) -> set[str]:
    """The lines of all output blocks, with a placeholder for what differs from run to run."""
    return {comparable(line) for block in blocks(text, "text") for line in block.splitlines()}


def lines_printed(output: str) -> set[str]:
    """The lines of an output, with the same placeholders."""
    return {comparable(line) for line in output.splitlines()}


def comparable(line: str) -> str:
    """A line with a placeholder for each time, id, token, duration, host and name of a tunnel."""
    line = re.sub(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+Z)?", "TIME", line)
    line = re.sub(r"^\d\d:\d\d:\d\d ", "CLOCK ", line)
    line = re.sub(r"[a-z]{8}-\d{15}", "ID", line)
    line = re.sub(r"\b\d+(\.\d+)? (m?s|seconds)\b", "DURATION", line)
    line = re.sub(r"//([0-9a-f]{40}|[0-9a-f]{4}\.\.\.)@", "//TOKEN@", line)
    line = re.sub(r"/[a-z2-7]{26}$", "/NAME", line)
    return re.sub(r"\w+://(hub\.example\.com|localhost:8080)/", "HUB/", line)
