"""Examples of signatures that the providers themselves publish."""

import json

import pytest

from hookbot.signatures import SignedRequest, load_provider

FORM = ("Content-Type", "application/x-www-form-urlencoded")

SLACK_BODY = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
    b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
    b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
    b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
)
SENDGRID_BODY = (
    b'[{"email":"hello@world.com","event":"dropped","reason":"Bounced Address",'
    b'"sg_event_id":"ZHJvcC0xMDk5NDkxOS1MUnpYbF9OSFN0T0doUTRrb2ZTbV9BLTA",'
    b'"sg_message_id":"LRzXl_NHStOGhQ4kofSm_A.filterdrecv-p3mdw1-756b745b58-kmzbl-18-5F5FC76C-9.0",'
    b'"smtp-id":"<LRzXl_NHStOGhQ4kofSm_A@ismtpd0039p1iad1.sendgrid.net>","timestamp":1600112492}]\r\n'
)
SENDGRID_KEY = (
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNNRaINXvVpiglSI8eN"
    "Ec6wEA3F+g=="
)
ADYEN_KEY = "44782DEF547AAA06C910C43932B1EB0C71FC68D9D0C057550C48EC2ACF6BA056"
ADYEN_ITEM = {
    "pspReference": "7914073381342284",
    "merchantReference": "TestPayment-1407325143704",
    "merchantAccountCode": "TestMerchant",
    "amount": {"currency": "EUR", "value": 1130},
    "eventCode": "AUTHORISATION",
    "success": "true",
    "paymentMethod": "visa",
    "additionalData": {"hmacSignature": "coqCmt/IZ4E3CzPvMY8zTjQVL5hYJUiBRg8UU+iCWo0="},
}

VECTORS = {
    "github, https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries": (
        "github",
        "It's a Secret to Everybody",
        0,
        SignedRequest(
            b"Hello, World!",
            (
                (
                    "X-Hub-Signature-256",
                    "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
                ),
            ),
        ),
    ),
    "slack, https://docs.slack.dev/authentication/verifying-requests-from-slack": (
        "slack",
        "8f742231b10e8888abcd99yyyzzz85a5",
        1531420618,
        SignedRequest(
            SLACK_BODY,
            (
                FORM,
                ("X-Slack-Request-Timestamp", "1531420618"),
                ("X-Slack-Signature", "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"),
            ),
        ),
    ),
    "twilio, https://www.twilio.com/docs/usage/security": (
        "twilio",
        "12345",
        0,
        SignedRequest(
            b"Digits=1234&To=%2B18005551212&From=%2B14158675309&Caller=%2B14158675309&CallSid=CA1234567890ABCDE",
            (FORM, ("X-Twilio-Signature", "RSOYDt4T1cUTdK1PDd93/VVr8B8=")),
            url="https://mycompany.com/myapp.php?foo=1&bar=2",
        ),
    ),
    "sendgrid, the tests of its Python library": (
        "sendgrid",
        SENDGRID_KEY,
        1600112502,
        SignedRequest(
            SENDGRID_BODY,
            (
                (
                    "X-Twilio-Email-Event-Webhook-Signature",
                    "MEUCIGHQVtGj+Y3LkG9fLcxf3qfI10QysgDWmMOVmxG0u6ZUAiEAyBiXDWzM+uOe5W0JuG+luQAbPIqHh89M15TluLtEZtM=",
                ),
                ("X-Twilio-Email-Event-Webhook-Timestamp", "1600112502"),
            ),
        ),
    ),
    "standard webhooks and svix, the tests of their Python libraries": (
        "standard-webhooks",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        1614265330,
        SignedRequest(
            b'{"test": 2432232314}',
            (
                ("svix-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
                ("svix-timestamp", "1614265330"),
                ("svix-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
            ),
        ),
    ),
    "dropbox, the tests of hapi-dropbox-webhooks": (
        "dropbox",
        "the_secret",
        0,
        SignedRequest(
            b'{"delta": {"users": [12345]}}',
            (("X-Dropbox-Signature", "0a8c16b085420b960dc78664279fe09e936a2a01b1f91064869d9e77dfd64529"),),
        ),
    ),
    "meta, the documentation of whatsapp_sdk": (
        "meta",
        "secret",
        0,
        SignedRequest(
            b"test",
            (("X-Hub-Signature-256", "sha256=0329a06b62cd16b33eb6792be8c60b158d89a2ee3a876fce9a881ebb488c0914"),),
        ),
    ),
    "adyen payments, the tests of its Python library": (
        "adyen",
        ADYEN_KEY,
        0,
        SignedRequest(json.dumps({"notificationItems": [{"NotificationRequestItem": ADYEN_ITEM}]}).encode()),
    ),
}


@pytest.mark.parametrize(("name", "secret", "now", "request_"), VECTORS.values(), ids=VECTORS)
def test_the_published_example_passes(name: str, secret: str, now: int, request_: SignedRequest) -> None:
    provider = load_provider(name)

    assert provider.verify(request_, [secret], now=now).key == 0
