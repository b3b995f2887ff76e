"""CONTRIBUTING.md: every file, function and command that it names is there."""

import re
from pathlib import Path

from support.places import missing_places, places_in

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text()


def test_every_place_that_the_page_names_exists() -> None:
    assert len(places_in(PAGE)) > 25
    assert missing_places(PAGE, ROOT) == []


def test_every_make_target_that_the_page_names_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    named = set(re.findall(r"\bmake ([a-z-]+)`", PAGE))

    assert {"check", "test", "release"} <= named
    assert {target for target in named if not re.search(rf"(?m)^{target}:", makefile)} == set()
