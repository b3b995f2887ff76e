"""``hookbot providers``, ``verify`` and ``sign``."""

import json
import re
import shlex
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from hookbot.cli import signatures as cli_signatures
from hookbot.cli.signatures import proof_lines, sign, verify_request
from hookbot.errors import BadSignature, ConfigError
from hookbot.signatures import Proof, SignedRequest, load_provider, provider_names

NOW = 1_700_000_000
SECRET = "correct-secret"
BODY = b'{"a": 1}'


@pytest.mark.parametrize(
    "saved",
    [
        BODY + b"\n",
        BODY + b"\r\n",
        b"\xef\xbb\xbf" + BODY,
        BODY.decode().encode("utf-16"),
        (BODY.decode() + "\r\n").encode("utf-16"),
    ],
)
def test_a_body_that_was_changed_when_it_was_saved_is_told_to_be_so(tmp_path: Path, saved: bytes) -> None:
    signed = run("sign", "slack", "--secret", SECRET, "--at", NOW, stdin=BODY)
    (tmp_path / "saved").write_bytes(saved)
    with pytest.raises(BadSignature, match=r"has added to the body .*, it is genuine$"):
        run("verify", "slack", "--secret", SECRET, "--at", NOW, *headers(signed), tmp_path / "saved")
    with pytest.raises(BadSignature, match=r"[0-9a-f]{64}$"):
        run("verify", "slack", "--secret", "another", "--at", NOW, *headers(signed), tmp_path / "saved")


@pytest.fixture
def body(tmp_path: Path) -> str:
    path = tmp_path / "body.json"
    path.write_bytes(BODY)
    return str(path)


def run(command: str, *arguments: Any, stdin: bytes = b"", **environ: Any) -> Result:
    result = CliRunner().invoke(
        getattr(cli_signatures, command), [str(a) for a in arguments], input=stdin, env=environ, standalone_mode=True
    )
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert SECRET not in result.output
    return result


def headers(result: Result) -> list[str]:
    return [argument for line in result.stdout.splitlines() for argument in ("-H", line)]


def test_every_provider_is_listed_with_what_it_covers_and_where_it_is_described() -> None:
    lines = run("providers").output.splitlines()

    assert [line.split()[0] for line in lines] == provider_names()
    assert "timestamp, body, id" in next(line for line in lines if line.startswith("stripe"))
    assert "nothing" in next(line for line in lines if line.startswith("basic"))
    assert all("https://" in line for line in lines)


def test_what_was_signed_verifies(body: str) -> None:
    signed = run("sign", "slack", "--secret", SECRET, "--at", NOW, body)

    result = run("verify", "slack", "--secret", "other", "--secret", SECRET, "--at", NOW + 12, *headers(signed), body)

    assert result.exit_code == 0
    assert "Genuine: slack, with the secret 1" in result.output
    assert "signed 2023-11-14T22:13:20.000000Z, 12 seconds ago" in result.output


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((), "the header X-Slack-Signature is missing"),
        (("--at", NOW + 600), "signed 600 seconds ago; the limit is 300 seconds"),
        (("--at", "2023-11-14T22:03:20Z"), "signed 600 seconds in the future"),
        (("--at", NOW, "-o", "max_age=0.5", "--at", NOW + 1), "the limit is 0.5 seconds"),
    ],
)
def test_what_does_not_verify_says_why(body: str, arguments: tuple[Any, ...], reason: str) -> None:
    signed = run("sign", "slack", "--secret", SECRET, "--at", NOW, body)

    with pytest.raises(BadSignature, match=reason):
        run("verify", "slack", "--secret", SECRET, *(headers(signed) if arguments else ()), *arguments, body)


@pytest.mark.parametrize("time", ["inf", "-inf", "nan", "1e400", "-1", "1e12", "later"])
def test_a_time_that_is_none_is_refused(body: str, time: str) -> None:
    result = CliRunner().invoke(sign, ["svix", "--secret", SECRET, "--at", time, body])
    assert result.exit_code == 2
    assert "a time must be Unix seconds or RFC 3339" in result.stderr


def test_a_mismatch_says_what_was_computed_over_which_bytes(body: str) -> None:
    computed = f"is not the HMAC-SHA256 of {{body}}, here 8 bytes with the SHA-256 {sha256(BODY).hexdigest()}"

    with pytest.raises(BadSignature, match=re.escape(computed)):
        run("verify", "github", "--secret", SECRET, "-H", "X-Hub-Signature-256: sha256=" + "0" * 64, body)


def test_secrets_come_from_the_environment_and_from_files(tmp_path: Path, body: str) -> None:
    key = tmp_path / "secret"
    key.write_text(f"{SECRET}\n")
    signed = run("sign", "github", "--secret", "env:GITHUB_SECRET", body, GITHUB_SECRET=SECRET)

    assert "Genuine" in run("verify", "github", "--secret", f"file:{key}", *headers(signed), body).output
    with pytest.raises(ConfigError, match="GITHUB_SECRET is not set"):
        run("sign", "github", "--secret", "env:GITHUB_SECRET", body)


def test_a_secret_that_cannot_be_one_is_told_before_anything_else(body: str) -> None:
    with pytest.raises(ConfigError, match="a secret of adyen must be hex"):
        run("verify", "adyen", "--secret", SECRET, body)
    with pytest.raises(ConfigError, match="unknown provider 'gitbub'"):
        run("verify", "gitbub", "--secret", SECRET, body)


def test_a_delivery_id_and_a_repeat_are_told(body: str) -> None:
    signed = run("sign", "github", "--secret", SECRET, body)

    output = run("verify", "github", "--secret", SECRET, *headers(signed), "-H", "X-GitHub-Delivery: 72d3", body).output

    assert "delivery id, not signed: 72d3" in output
    assert "a repeat is recognised by: nothing that is signed" in output


def test_a_url_to_be_confirmed_is_told() -> None:
    url = "https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription"
    proof = Proof(0, "0" * 64, replay_key="a-key", confirm_url=url)
    assert proof_lines(load_provider("aws-sns"), proof, NOW)[1:] == [
        f"to be confirmed at: {url}",
        "a repeat is recognised by: a-key",
    ]


def test_headers_that_were_given_are_signed_and_not_printed_again(body: str) -> None:
    options = ("-H", "Content-Type: application/json")
    signed = run("sign", "github", "--secret", SECRET, *options, body)
    url = "https://hub.example.com/in"
    curl = shlex.split(run("sign", "github", "--secret", SECRET, "--curl", "--url", url, *options, body).output)

    assert [line.partition(":")[0] for line in signed.stdout.splitlines()] == ["X-Hub-Signature-256"]
    assert "Content-Type: application/json" in curl
    assert "Content-Type:" not in curl


def test_a_handshake_is_told_with_its_answer() -> None:
    question = json.dumps({"type": "url_verification", "challenge": "3eZb"}).encode()
    signed = run("sign", "slack", "--secret", SECRET, "--at", NOW, stdin=question)

    output = run("verify", "slack", "--secret", SECRET, "--at", NOW, *headers(signed), stdin=question).output

    assert "answers with 200 and\nb'3eZb'" in output


def test_options_of_the_generic_scheme_are_written_as_in_the_configuration(body: str) -> None:
    options = (
        "-o",
        "header=X-Acme",
        "-o",
        'template="{timestamp}.{body}"',
        "-o",
        "timestamp=X-Time",
        "-o",
        "max_age=5",
    )
    signed = run("sign", "hmac", "--secret", SECRET, "--at", NOW, *options, body)

    assert [line.split(":")[0] for line in signed.stdout.splitlines()] == ["X-Time", "X-Acme"]
    assert "Genuine" in run("verify", "hmac", "--secret", SECRET, "--at", NOW, *options, *headers(signed), body).output


def test_a_curl_line_sends_the_file_with_the_signature(body: str) -> None:
    url = "https://hub.example.com/unsafe/pub/stripe"

    line = shlex.split(run("sign", "stripe", "--secret", SECRET, "--at", NOW, "--curl", "--url", url, body).output)

    assert (line[0], line[-1]) == ("curl", url)
    assert line[line.index("--data-binary") + 1] == f"@{body}"
    assert "Content-Type:" in line
    name, value = next(part for part in line if part.startswith("Stripe-Signature")).split(": ")
    request = SignedRequest(BODY, ((name, value),))
    assert load_provider("stripe").verify(request, [SECRET], now=NOW).signed_at == NOW


def test_a_curl_line_has_the_body_in_it_where_that_is_signed_or_comes_from_standard_input(body: str) -> None:
    url = "https://hub.example.com/in"

    mailgun = shlex.split(run("sign", "mailgun", "--secret", SECRET, "--curl", "--url", url, body).output)
    piped = shlex.split(run("sign", "github", "--secret", SECRET, "--curl", "--url", url, stdin=b"@it's").output)

    assert json.loads(mailgun[mailgun.index("--data-raw") + 1])["signature"]["token"]
    assert piped[piped.index("--data-raw") + 1] == "@it's"
    assert run("sign", "github", "--secret", SECRET, "--curl", "--url", url, stdin=b"\xff").exit_code == 2
    assert run("sign", "github", "--secret", SECRET, "--curl", stdin=b"a").exit_code == 2


def test_a_body_or_an_address_that_signing_changes_is_printed(body: str) -> None:
    mailgun = run("sign", "mailgun", "--secret", SECRET, body)
    twilio = run("sign", "twilio", "--secret", SECRET, "--url", "https://example.com/in", body)

    assert json.loads(mailgun.stdout)["signature"]["signature"]
    assert "The URL becomes https://example.com/in?bodySHA256=" in twilio.stderr


def test_a_certificate_that_is_needed_is_fetched() -> None:
    fetched = []

    async def fetch(url: str) -> bytes:
        fetched.append(url)
        return b"<html>"

    certificate = "https://api.paypal.com/v1/notifications/certs/CERT-1"
    fields = (
        ("Paypal-Transmission-Id", "1"),
        ("Paypal-Transmission-Time", "2023-11-14T22:13:20Z"),
        ("Paypal-Transmission-Sig", b64encode(bytes(256)).decode()),
        ("Paypal-Auth-Algo", "SHA256withRSA"),
        ("Paypal-Cert-Url", certificate),
    )

    with pytest.raises(BadSignature, match="there is no certificate"):
        verify_request(load_provider("paypal"), SignedRequest(BODY, fields), ["WH1"], NOW, fetch=fetch)

    assert fetched == [certificate]


@pytest.mark.parametrize("arguments", [("-H", "nocolon"), ("-H", ": x"), ("-o", "max_age"), ("--at", "yesterday")])
def test_what_is_written_wrongly_is_an_error_of_usage(body: str, arguments: tuple[str, str]) -> None:
    assert run("verify", "slack", "--secret", "s", *arguments, body).exit_code == 2
