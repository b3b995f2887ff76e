"""Shopify's app proxies: the example of the documentation, and queries that could be read in several ways."""

import hmac
from urllib.parse import urlencode

import pytest

from hookbot.errors import BadSignature
from hookbot.signatures import Proof, SignedRequest, load_provider

# https://shopify.dev/docs/apps/build/online-store/app-proxies/authenticate-app-proxies
EXAMPLE = (
    "extra=1&extra=2&shop=shop-name.myshopify.com&logged_in_customer_id=1&path_prefix=%2Fapps%2Fawesome_reviews"
    "&timestamp=1317327555&signature=4c68c8624d737112c91818c11017d24d334b524cb5c2b8ba08daa056f7395ddb"
)
VISITOR = EXAMPLE.replace("id=1&", "id=&").rpartition("=")[0]
VISITOR += "=e072b6d7e6622d85912a5214b860d3100dc1e73d9bc29f43796ac8c9ff8093cb"
NOW = 1317327555.0
ADDED = {
    "logged_in_customer_id": "7",
    "path_prefix": "/apps/x",
    "shop": "a.myshopify.com",
    "timestamp": str(int(NOW)),
}


def verify(query: str, *, now: float = NOW, body: bytes = b"") -> Proof:
    request = SignedRequest(body, (), "POST" if body else "GET", f"https://hub/unsafe/pub/shop?{query}")
    provider = load_provider("shopify-proxy")
    provider.check_head(request, ["hush"], now=now)
    return provider.verify(request, ["hush"], now=now)


def signed(text: str, *parameters: tuple[str, str]) -> str:
    """A query with the signature of a text."""
    return urlencode([*parameters, ("signature", hmac.digest(b"hush", text.encode(), "sha256").hex())])


def text_of(**more: str) -> str:
    return "".join(sorted(f"{name}={value}" for name, value in (ADDED | more).items()))


@pytest.mark.parametrize("query", [EXAMPLE, VISITOR])
def test_the_example_of_the_documentation_is_genuine(query: str) -> None:
    proof = verify(query)

    assert (proof.key, proof.signed_at, proof.replay_key) == (0, NOW, proof.fingerprint)


@pytest.mark.parametrize("change", [("extra=2", "extra=3"), ("id=1", "id=2"), ("&signature", "&a=b&signature")])
def test_a_changed_one_is_not(change: tuple[str, str]) -> None:
    with pytest.raises(BadSignature, match="is not the HMAC-SHA256"):
        verify(EXAMPLE.replace(*change))


@pytest.mark.parametrize("now", [NOW + 301, NOW - 301])
def test_nor_is_one_of_another_time(now: float) -> None:
    with pytest.raises(BadSignature, match="the limit is 300 seconds"):
        verify(EXAMPLE, now=now)


@pytest.mark.parametrize("ours", ["reply&", "reply=1&", "reply=&"])
def test_the_parameter_of_the_hub_may_be_signed_or_not_and_is_the_same_delivery(ours: str) -> None:
    assert verify(ours + EXAMPLE) == verify(EXAMPLE)

    of_a_link = signed(text_of(reply="1"), ("reply", "1"), *ADDED.items())
    assert verify(of_a_link).key == 0
    with pytest.raises(BadSignature):
        verify(of_a_link.replace("reply=1&", ""))


@pytest.mark.parametrize("ours", ["reply=later&", "reply&reply=later&"])
def test_any_other_value_of_it_is_a_part_of_what_is_signed(ours: str) -> None:
    with pytest.raises(BadSignature):
        verify(ours + EXAMPLE)


@pytest.mark.parametrize("name", [*ADDED, "signature"])
def test_what_shopify_adds_stands_there_once(name: str) -> None:
    parts = EXAMPLE.split("&")
    [own] = [part for part in parts if part.startswith(f"{name}=")]

    for query in ("&".join(part for part in parts if part != own), f"{EXAMPLE}&{own}"):
        with pytest.raises(BadSignature, match=r"missing|occurs 2 times"):
            verify(query)


@pytest.mark.parametrize(
    "others",
    [
        # Each with the text of what Shopify has signed for a visitor who is customer 7.
        {"a": "logged_in_customer_id=5m="},
        {"a": "1shop=evil.myshopify.com"},
        {"alogged_in_customer_id": "5"},
        {"a=logged_in_customer_id": "5"},
        {"shop=b": "1"},
    ],
)
def test_what_shopify_adds_cannot_be_read_elsewhere(others: dict[str, str]) -> None:
    query = signed(text_of(**others), *others.items(), *ADDED.items())

    with pytest.raises(BadSignature, match="could be read elsewhere"):
        verify(query)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("logged_in_customer_id", "7x"),
        ("shop", "a.example.com"),
        ("shop", "a.myshopify.com.b.myshopify.com"),
        ("path_prefix", "apps"),
        ("timestamp", "now"),
    ],
)
def test_what_shopify_adds_has_its_form(name: str, value: str) -> None:
    with pytest.raises(BadSignature, match="malformed"):
        verify(signed(text_of(**{name: value}), *(ADDED | {name: value}).items()))


def test_the_parameters_of_a_visitor_may_be_anything_and_are_told_by_the_whole_text() -> None:
    one, other = {"m": "1n=\xe4 &"}, {"m": "1", "n": "\xe4 &"}

    proofs = [verify(signed(text_of(**one), *query.items(), *ADDED.items())) for query in (one, other)]
    assert proofs[0] == proofs[1]


def test_two_forms_of_one_second_are_two_deliveries_and_each_is_accepted_once() -> None:
    one, again, other = (verify(EXAMPLE, body=body).replay_key for body in (b"stars=1", b"stars=1", b"stars=5"))

    assert one == again != other


def test_it_is_sorted_as_text_and_bytes_are_kept() -> None:
    text = b"a-b=1a=\xff" + text_of().encode()
    signature = hmac.digest(b"hush", text, "sha256").hex()

    assert verify(f"a=%ff&a-b=1&{urlencode(ADDED)}&signature={signature}").key == 0
