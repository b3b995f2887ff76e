"""Senders that follow the scheme: the documentation of each, and its own ways."""

from dataclasses import replace

import pytest

from hookbot.errors import BadSignature
from hookbot.signatures import SignedRequest
from hookbot.signatures.scheme import Scheme
from hookbot.signatures.senders import BODY_ONLY, FORGES, TIMED, WITH_URL
from support.signature_samples import BODY, FORM, NOW, SAMPLE, sign, verify


@pytest.mark.parametrize("sender", [*FORGES, *BODY_ONLY, *TIMED, *WITH_URL], ids=lambda sender: sender.name)
def test_a_sender_covers_what_its_group_says(sender: Scheme) -> None:
    covers = set(sender.covers)

    assert sender.documentation.startswith("https://")
    assert ("timestamp" in covers) == (sender in TIMED or sender.name == "hubspot"), "TIMED is for signed times"
    assert ("url" in covers) == (sender in WITH_URL), "WITH_URL is for signed URLs"
    assert "body" in covers or sender.name == "mailgun"


def test_an_id_within_a_signed_body_tells_a_retry_that_was_signed_again() -> None:
    first, retry = (verify("stripe", sign("stripe", SignedRequest(BODY), now), now=now) for now in (NOW, NOW + 3600))

    assert first.replay_key == retry.replay_key == "evt_1"
    assert first.fingerprint != retry.fingerprint


def test_a_slack_command_has_no_id_and_is_told_by_what_was_signed() -> None:
    command = SignedRequest(b"command=%2Fdeploy", FORM)

    proofs = [verify("slack", sign("slack", command, now), now=now) for now in (NOW, NOW + 1)]

    assert [proof.replay_key for proof in proofs] == [proof.fingerprint for proof in proofs]
    assert proofs[0].replay_key != proofs[1].replay_key


def test_another_spelling_of_an_ecdsa_signature_is_the_same_delivery() -> None:
    sample = SAMPLE["sendgrid"]
    signed, again = sample.signed(), sample.signed()  # ECDSA is not deterministic

    assert signed != again
    assert len({sample.provider.verify(r, [sample.secret], now=NOW).replay_key for r in (signed, again)}) == 1


def test_docusign_sends_a_header_for_each_key() -> None:
    signed = sign("docusign", SignedRequest(BODY))
    right = signed.need("X-DocuSign-Signature-1")
    headers = (("X-DocuSign-Signature-1", "AAAA"), ("X-DocuSign-Signature-2", right))

    assert verify("docusign", SignedRequest(BODY, headers)).key == 0


def test_gitea_signs_the_json_in_a_form_and_a_form_with_more_in_it_is_taken_as_it_is() -> None:
    signed = SAMPLE["gitea-form"].signed()

    assert verify("gitea", replace(signed, body=b"payload=%7b%22a%22:+1%7d"), SAMPLE["gitea"].secret).key == 0
    with pytest.raises(BadSignature):
        verify("gitea", replace(signed, body=signed.body + b"&more=1"), SAMPLE["gitea"].secret)


def test_a_changed_field_of_a_mailgun_signature_is_refused_and_the_rest_is_not_covered() -> None:
    signed = SAMPLE["mailgun"].signed()
    token = signed.need("json:signature.token")
    secret = SAMPLE["mailgun"].secret

    with pytest.raises(BadSignature):
        verify("mailgun", replace(signed, body=signed.body.replace(token.encode(), b"other")), secret)
    elsewhere = replace(signed, body=signed.body.replace(b'"event-data":{}', b'"event-data":1'))
    assert verify("mailgun", elsewhere, secret).replay_key == token
