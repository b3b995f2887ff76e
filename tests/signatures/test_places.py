"""Places in a request."""

import pytest

from hookbot.errors import ConfigError
from hookbot.signatures.places import alternatives, describe, is_in_body, is_in_head, parse_place


@pytest.mark.parametrize(
    ("place", "kind", "words"),
    [
        ("X-One", ("", "X-One", ""), "the header X-One"),
        ("X-*", ("", "X-", "*"), "the header X-*"),
        ("Stripe-Signature[t]", ("", "Stripe-Signature", "[t]"), "'t' in the header Stripe-Signature"),
        ("json:event.id", ("json", "event.id", ""), "'event.id' in the JSON body"),
        ("query:token", ("query", "token", ""), "the query parameter 'token'"),
    ],
)
def test_a_place_has_a_kind_a_name_and_a_suffix(place: str, kind: tuple[str, str, str], words: str) -> None:
    assert parse_place(place) == kind
    assert alternatives(f"{place}|X-Two") == [kind, ("", "X-Two", "")]
    assert describe(place) == describe(f"{place}|X-Two") == words


@pytest.mark.parametrize(
    ("place", "in_head", "in_body"),
    [
        ("X-One", True, False),
        ("query:a", True, False),
        ("X-One|query:a", True, False),
        ("json:a", False, True),
        ("X-One|json:a", False, False),
        ("json:a|json:b", False, True),
    ],
)
def test_a_place_is_in_the_head_or_the_body_if_all_its_alternatives_are(
    place: str, in_head: bool, in_body: bool
) -> None:
    assert (is_in_head(place), is_in_body(place)) == (in_head, in_body)


@pytest.mark.parametrize("place", ["", "a b", "[t]", "X-One[", "header:X-One", "query:a[b]", "json:*"])
def test_what_is_no_place_is_an_error_of_the_configuration(place: str) -> None:
    with pytest.raises(ConfigError, match="not a place"):
        alternatives(f"X-One|{place}")
