"""Amazon SNS: the fields that are signed, and the addresses that are Amazon's."""

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.hashes import SHA256

from hookbot.errors import BadSignature, ConfigError
from hookbot.signatures import CertificateNeeded, Proof, SignedRequest, load_provider
from hookbot.signatures.aws_sns import AwsSns
from support.certificate_authority import SNS, TOPIC

NOW = 1_700_000_000.0
CONFIRM = "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=x&Token=2336412f"


def provider(**options: Any) -> AwsSns:
    provider = load_provider("aws-sns", options)
    assert isinstance(provider, AwsSns)
    provider.cache.update(SNS.published())
    return provider


def sns(message: object, *topics: str, now: float = NOW, **options: Any) -> Proof:
    return provider(**options).verify(SignedRequest(json.dumps(message).encode()), topics or [TOPIC], now=now)


@pytest.mark.parametrize("version", ["1", "2"])
def test_both_versions_of_an_sns_signature_pass(version: str) -> None:
    proof = sns(SNS.message(NOW, version))

    assert (proof.key, proof.signed_at, proof.replay_key) == (0, NOW, "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324")


def test_sha_1_can_be_ruled_out() -> None:
    with pytest.raises(BadSignature, match="SignatureVersion '1' is not accepted"):
        sns(SNS.message(NOW, "1"), allow_sha1=False)


@pytest.mark.parametrize("field", ["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type", "Signature"])
def test_every_field_that_means_anything_is_covered(field: str) -> None:
    message = SNS.message(NOW)
    changes = {"Type": "UnsubscribeConfirmation", "Timestamp": "2023-11-14T22:13:21.000Z", "Signature": "AAAA"}

    with pytest.raises(BadSignature):
        sns({**message, field: changes.get(field, message[field] + "x")})
    with pytest.raises(BadSignature):
        sns({**message, field: 5})
    with pytest.raises(BadSignature):
        sns({name: value for name, value in message.items() if name != field})


@pytest.mark.parametrize(
    "forged",
    [
        '"Message": "forged"',
        '"message": "forged"',
        '"SUBJECT": "forged"',
        '"Me\u017f\u017fage": "forged"',
        '"Type": "x"',
    ],
)
@pytest.mark.parametrize("position", ["first", "last"])
def test_no_reader_finds_another_value_of_a_signed_field(forged: str, position: str) -> None:
    genuine = json.dumps(SNS.message(NOW))
    body = f"{{{forged}, {genuine[1:]}" if position == "first" else f"{genuine[:-1]}, {forged}}}"

    with pytest.raises(BadSignature, match=r"twice in one object|could be taken for a signed one"):
        provider().verify(SignedRequest(body.encode()), [TOPIC], now=NOW)


def test_a_message_needs_no_subject_and_cannot_be_given_one() -> None:
    message = SNS.message(NOW)
    del message["Subject"]
    text = "".join(f"{key}\n{message[key]}\n" for key in ("Message", "MessageId", "Timestamp", "TopicArn", "Type"))
    message["Signature"] = SNS.signature(text, SHA256())

    assert sns(message).key == 0
    assert sns({**message, "Subject": None}).key == 0
    for subject in ("forged", 5, ["forged"]):
        with pytest.raises(BadSignature):
            sns({**message, "Subject": subject})


@pytest.mark.parametrize("field", ["MessageId", "Subject", "Timestamp", "TopicArn"])
def test_no_field_but_the_message_may_have_what_separates_the_fields(field: str) -> None:
    message = SNS.message(NOW)
    with pytest.raises(BadSignature, match=f"{field} has a line feed"):
        sns(SNS.message(NOW, **{field: f"{message[field]}\n"}), f"{TOPIC}\n", TOPIC)


def test_the_end_of_a_message_cannot_become_the_id_of_another() -> None:
    genuine = SNS.message(NOW, Message="a\nMessageId\nb", MessageId="c")
    moved = {**genuine, "Message": "a", "MessageId": "b\nMessageId\nc"}

    assert sns(genuine).replay_key == "c"
    with pytest.raises(BadSignature, match="MessageId has a line feed"):
        sns(moved)


@pytest.mark.parametrize(
    "region", ["cn-north-1.amazonaws.com.cn", "us-gov-west-1.amazonaws.com", "eu-west-1.amazonaws.com"]
)
def test_a_certificate_may_be_from_every_partition_of_amazon(region: str) -> None:
    with pytest.raises(CertificateNeeded):
        sns({**SNS.message(NOW), "SigningCertURL": f"https://sns.{region}/SimpleNotificationService-0123.pem"})


def test_an_hour_is_enough_for_the_retries_of_sns() -> None:
    assert sns(SNS.message(NOW), now=NOW + 3590).signed_at == NOW


def test_a_subscription_that_wants_to_be_confirmed_says_where() -> None:
    assert sns(SNS.confirmation(NOW, CONFIRM)).confirm_url == CONFIRM
    assert sns(SNS.message(NOW)).confirm_url is None


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example.com/?Action=ConfirmSubscription",
        "http://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription",
        "https://sns.eu-west-1.amazonaws.com@evil.example.com/",
        "https://sns.eu-west-1.amazonaws.com.evil.example.com/",
        "https://sns.eu-west-1.amazonaws.com:8443/",
        "https://sns.eu-west-1.amazonaws.com\\@evil.example.com/",
        "https://sns.eu-west-1.amazon\naws.com/",
        "https://[sns/",
    ],
)
def test_nobody_is_confirmed_to_but_amazon(url: str) -> None:
    with pytest.raises(BadSignature):
        sns(SNS.confirmation(NOW, url))


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example.com/SimpleNotificationService-0123.pem",
        "http://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0123.pem",
        "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0123.pem?x=y",
        "https://sns.eu-west-1.amazonaws.com/bucket/SimpleNotificationService-0123.pem",
        "https://s3.amazonaws.com/SimpleNotificationService-0123.pem",
        "https://sns.eu-west-1.amazonaws.com/SimpleNotification\tService-0123.pem",
    ],
)
def test_no_certificate_is_wanted_from_anybody_but_amazon(url: str) -> None:
    with pytest.raises(BadSignature, match=r"not a URL of Amazon SNS|not a URL:"):
        sns({**SNS.message(NOW), "SigningCertURL": url})


def test_raw_message_delivery_is_refused_with_advice() -> None:
    with pytest.raises(BadSignature, match="turn it off"):
        provider().verify(SignedRequest(b"hello", (("x-amz-sns-rawdelivery", "true"),)), [TOPIC], now=NOW)


@pytest.mark.parametrize("body", [b"", b"[]", b'"Notification"', b'{"Type": "Other"}', b'{"Type": 5}'])
def test_what_is_no_message_of_sns_is_refused(body: bytes) -> None:
    with pytest.raises(BadSignature):
        provider().verify(SignedRequest(body), [TOPIC], now=NOW)


@pytest.mark.parametrize("type_", [None, 5, "", "Other", ["Notification"]])
def test_a_message_of_an_unknown_type_is_refused(type_: object) -> None:
    with pytest.raises(BadSignature, match="its Type is missing or none of Notification, SubscriptionConfirmation,"):
        sns({**SNS.message(NOW), "Type": type_})


def test_a_topic_of_somebody_else_is_refused() -> None:
    assert sns(SNS.message(NOW), "arn:aws:sns:eu-west-1:1:other", TOPIC).key == 1
    with pytest.raises(BadSignature, match="the TopicArn is not a topic of this source: 'arn:aws:sns:"):
        sns(SNS.message(NOW), "arn:aws:sns:eu-west-1:1:other")


@pytest.mark.parametrize("signature", ["***", "AAAA", ""])
def test_another_signature_is_refused(signature: str) -> None:
    with pytest.raises(BadSignature, match=r"the field Signature (is not base64|does not match)"):
        sns({**SNS.message(NOW), "Signature": signature})


def test_a_message_is_covered_by_its_fields() -> None:
    assert provider().covers == ("fields", "timestamp", "id")
    assert provider().options == ("roots", "allow_sha1", "max_age")


@pytest.mark.parametrize("secret", ["", "MyTopic", TOPIC.replace("sns", "sqs"), f"{TOPIC} ", "arn:aws:sns:::x"])
def test_a_secret_is_the_arn_of_a_topic(secret: str) -> None:
    provider().check(TOPIC)
    with pytest.raises(ConfigError, match="must be the ARN of a topic"):
        provider().check(secret)
