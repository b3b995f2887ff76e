"""What looks like a secret is masked, and what people look for is not."""

from base64 import urlsafe_b64encode
from hashlib import sha1, sha256

import pytest

from hookbot.access.masking import MASK, masked
from hookbot.access.narrowed_tokens import NarrowedToken
from hookbot.access.tokens import make_token

NARROWED = str(NarrowedToken.of(make_token("key", "/sub/a/"), "/sub/a/").narrow("only", "sub"))


@pytest.mark.parametrize(
    "secret",
    [
        make_token("key", "/pub/a"),
        make_token("key", "/pub/a", "sha256"),
        NARROWED,
        sha1(b"signature").hexdigest().upper(),
        urlsafe_b64encode(sha256(b"signature").digest()).decode().rstrip("="),
        "whsec_4Jk3Zq0Xv9TnW2bQy7LmPd8RfHs1UcEa",
    ],
)
@pytest.mark.parametrize("around", ["/pub/{}", "/pub/a/{}/b", "no such path: '/pub/{}'", "SHA-256-{}", "x_{}", "{}"])
def test_a_token_or_a_signature_is_masked_wherever_it_stands(secret: str, around: str) -> None:
    assert secret not in masked(around.format(secret))
    assert masked(f"see {secret} here") == f"see {MASK} here"


def test_what_is_left_of_a_hex_token_that_was_cut_off_does_not_tell_the_rest() -> None:
    token = make_token("key", "/pub/a")

    assert all(len(masked(token[:length])) <= 24 for length in range(41))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/https://1a2b3c@hub.example.com/pub/a", f"/https://{MASK}@hub.example.com/pub/a"),
        ("/https://user:secret@hub.example.com/", f"/https://{MASK}@hub.example.com/"),
        ("/https://user:p@ss@hub.example.com/", f"/https://{MASK}@hub.example.com/"),
        ("/sub/a?token=short&since=all", f"/sub/a?token={MASK}&since={MASK}"),
        ("invalid path '/a?code=x'", f"invalid path '/a?code={MASK}'"),
    ],
)
def test_the_user_and_the_query_of_a_pasted_url_are_masked(text: str, shown: str) -> None:
    assert masked(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "/pub/github.com/repo/acme/a-repository-with-a-really-long-name",
        "/pub/550e8400-e29b-41d4-a716-446655440000",
        "/pub/a=b/c@d",
        "401 Unauthorized: the token is for another path",
        f"not the HMAC-SHA256 of {{body}}, here 2 bytes with the SHA-256 {sha256(b'{}').hexdigest()}",
    ],
)
def test_names_reasons_and_the_hash_of_a_body_stay(text: str) -> None:
    assert masked(text) == text
