"""Links in README.md and docs/ lead somewhere, also from the package index."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BASE = "https://github.com/hookbot/hookbot/blob/main/"
README = (ROOT / "README.md").read_text()
PAGES = sorted(
    page
    for pattern in ("docs/*.md", "examples/*/*.md", "changes/README.md", "C*.md", "S*.md")
    for page in ROOT.glob(pattern)
)


def without_code(text: str) -> str:
    return re.sub(r"(?ms)^```.*?^```$", "", text)


def links_of(text: str) -> list[str]:
    """The targets of inline links, pictures and reference definitions."""
    prose = re.sub(r"`[^`\n]*`", "", without_code(text))
    return re.findall(r"\]\(([^)\s]+)\)", prose) + re.findall(r"(?m)^\[[^\]]+\]: (\S+)$", prose)


def anchors_of(text: str) -> set[str]:
    """The anchors that GitHub makes of the headings."""
    headings = re.findall(r"(?m)^#+ (.*)$", without_code(text))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def leads_somewhere(page: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = (page.parent / path) if path else page
    return target.exists() and (not anchor or anchor in anchors_of(target.read_text()))


def test_every_link_in_readme_is_absolute_since_the_package_index_shows_it_too() -> None:
    assert [link for link in links_of(README) if not link.startswith("https://")] == []


def test_every_link_in_readme_to_this_repository_leads_to_a_file_and_a_heading_in_it() -> None:
    own = [link.removeprefix(BASE) for link in links_of(README) if link.startswith(BASE)]

    assert len(own) > 15
    assert [link for link in own if not leads_somewhere(ROOT / "README.md", link)] == []


def test_every_reference_in_readme_is_defined_and_used() -> None:
    defined = set(re.findall(r"(?m)^\[([^\]]+)\]: ", README))
    used = set(re.findall(r"\]\[([^\]]+)\]", without_code(README)))

    assert defined == used


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_a_page_links_to_files_of_this_repository_by_relative_paths(page: Path) -> None:
    own = ("https://github.com/hookbot/hookbot#", BASE)

    assert [link for link in links_of(page.read_text()) if link.startswith(own)] == []


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_every_relative_link_of_a_page_leads_to_a_file_and_a_heading_in_it(page: Path) -> None:
    relative = [link for link in links_of(page.read_text()) if "://" not in link]

    assert [link for link in relative if not leads_somewhere(page, link)] == []


def test_headings_become_the_anchors_of_github() -> None:
    text = "# The hub's own paths\n\n## `[[sources]]`\n\n```sh\n# a comment\n```\n\n### aws-sns\n"

    assert anchors_of(text) == {"the-hubs-own-paths", "sources", "aws-sns"}
