"""Verification of GitHub's signature, as its documentation shows it."""

import hmac

from benchmarks.protocols import SECRET


def is_signed(body: bytes, signature: str) -> bool:
    """True if the value of ``X-Hub-Signature-256`` belongs to the body of a delivery."""
    expected = "sha256=" + hmac.new(SECRET.encode(), body, "sha256").hexdigest()
    return hmac.compare_digest(expected, signature)
