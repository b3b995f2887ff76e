"""CONTRIBUTING.md: every file and function that it names is there."""

from pathlib import Path

from support.places import missing_places, places_in

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text()


def test_every_place_that_the_page_names_exists() -> None:
    assert len(places_in(PAGE)) > 25
    assert missing_places(PAGE, ROOT) == []
