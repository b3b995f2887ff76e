"""changes/ and CHANGELOG.md: each fragment can be published as it is, and the newest version has an entry."""

import re
import tomllib
from pathlib import Path

import pytest

from hookbot.version import __version__

ROOT = Path(__file__).parents[2]
CHANGES = ROOT / "changes"
FRAGMENTS = sorted(path.name for path in CHANGES.glob("*.md") if path.name != "README.md")
CATEGORIES = [
    kind["directory"] for kind in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["towncrier"]["type"]
]


def test_the_folder_holds_fragments_and_their_description_only() -> None:
    assert sorted(path.name for path in CHANGES.iterdir()) == sorted([*FRAGMENTS, "README.md"])


@pytest.mark.parametrize("name", FRAGMENTS)
def test_a_fragment_is_named_by_an_issue_or_a_few_words_and_a_category(name: str) -> None:
    assert re.fullmatch(rf"(\d+|\+[a-z0-9-]+)\.({'|'.join(CATEGORIES)})\.md", name)


@pytest.mark.parametrize("name", FRAGMENTS)
def test_a_fragment_is_a_sentence_at_least(name: str) -> None:
    text = (CHANGES / name).read_text().strip()

    assert re.match(r"[A-Z`].*\.$", text, re.DOTALL)
    assert not text.startswith("- ")


@pytest.mark.parametrize("name", [name for name in FRAGMENTS if ".change." in name])
def test_a_change_says_what_to_do_when_upgrading(name: str) -> None:
    assert "**Upgrading:** " in (CHANGES / name).read_text()


def test_the_description_names_every_category() -> None:
    described = re.findall(r"^\| `(\w+)` \|", (CHANGES / "README.md").read_text(), re.MULTILINE)

    assert described == CATEGORIES


def test_the_changelog_has_an_entry_for_this_version_beneath_the_line_where_the_next_one_goes() -> None:
    before, marker, after = (ROOT / "CHANGELOG.md").read_text().partition("<!-- towncrier release notes start -->\n")

    assert marker
    assert "\n## " not in before
    assert f"\n## {__version__} (" in after
