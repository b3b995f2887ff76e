"""Samples as requests."""

import json
from urllib.parse import parse_qs

from hookbot.signatures import load_provider
from hookbot.signatures.samples import Sample, sample

JSON = (("Content-Type", "application/json"), ("X-Event", "a"))


def test_a_body_is_json_with_its_numbers_as_they_are_written() -> None:
    made = sample(load_provider("shopify"), "orders/create", id="1", now_s=0)

    assert json.loads(made.body)["line_items"][0]["id"] == 866550311766439020
    assert not made.is_form


def test_a_body_is_a_form_whose_objects_are_json() -> None:
    made = sample(load_provider("slack"), "block_actions", id="1", now_s=0).with_value("payload.user.id", "U1")

    [payload] = parse_qs(made.body.decode())["payload"]
    assert json.loads(payload)["user"]["id"] == "U1"


def test_headers_replace_those_of_the_same_name() -> None:
    made = Sample("1", JSON, {}).with_headers((("x-event", "b"), ("X-Other", "c")))

    assert made.headers == (JSON[0], ("x-event", "b"), ("X-Other", "c"))


def test_an_id_is_put_into_the_headers_where_the_provider_has_one_and_a_body_of_ones_own_is_kept() -> None:
    stripe, github = load_provider("stripe"), load_provider("github")
    made = Sample("id-1", JSON, {"a": 1})

    assert json.loads(made.request(stripe).body) == {"a": 1}
    assert made.request(github, "https://a/", b"[ 1 ]").body == b"[ 1 ]"
    assert made.request(github).find("X-GitHub-Delivery") == "id-1"
