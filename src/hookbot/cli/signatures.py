"""``hookbot providers``, ``verify`` and ``sign``: tools to find the reason for a 401."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import wraps
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from ..errors import BadSignature
from ..hub.secret_store import resolve_secret
from ..protocol.message import format_time
from ..protocol.pasted import decode
from ..protocol.response import Response
from .parameters import Moment, Parsed, parse_header, read_input, with_options
from .sign_options import KEY_HELP, complete_provider, provider_option

if TYPE_CHECKING:
    from ..access.fetching import Fetch
    from ..signatures import Proof, Provider, SignedRequest

# First second of the year 10000, which RFC 3339 cannot write.
_END_OF_TIME = 253_402_300_800


def _unix_seconds(text: str) -> float:
    seconds = float(text)
    # Not so for NaN.
    if 0 <= seconds < _END_OF_TIME:
        return seconds
    raise ValueError(text)


_HEADER = Parsed("header", lambda text: _latin1(parse_header(text)))
_MOMENT = Moment("time", _unix_seconds, "a time must be Unix seconds or RFC 3339, not {!r}")


@click.command("providers")
def providers() -> None:
    """List the providers whose signatures can be checked.

    For each: what the signature covers, and where it is documented.
    """
    from ..signatures import load_provider, provider_names

    width = max(map(len, provider_names()))
    for name in provider_names():
        provider = load_provider(name)
        click.echo(f"{name:{width}}  {', '.join(provider.covers) or 'nothing':28}  {provider.documentation}")


def _of_a_request(command: Callable[..., None]) -> Callable[..., None]:
    """Decorator that adds the parameters of a request. The command receives the provider, the request and the time."""

    @with_options(
        click.argument("provider", shell_complete=complete_provider),
        click.argument("file", type=click.File("rb"), default="-"),
        click.option(
            "--header",
            "-H",
            "headers",
            multiple=True,
            type=_HEADER,
            metavar="'K: V'",
            help="Header of the request. Repeatable.",
        ),
        click.option("--url", default="", metavar="URL", help="URL of the request, as the sender knows it."),
        click.option("--method", default="POST", show_default=True, help="Method of the request."),
        provider_option,
        click.option("--at", "now", type=_MOMENT, default=time.time, help="Time to use instead of now."),
    )
    @wraps(command)
    def described(
        provider: str, file: BinaryIO, headers: Any, url: str, method: str, options: Any, now: float, **others: Any
    ) -> None:
        from ..signatures import SignedRequest, load_provider

        request = SignedRequest(read_input(file), headers, method, url)
        command(load_provider(provider, dict(options)), request, now, **others)

    return described


@click.command("verify")
@_of_a_request
@click.option(
    "--secret",
    "secrets",
    multiple=True,
    required=True,
    metavar="SECRET",
    help="Secret, env:NAME or file:PATH. Repeatable.",
)
def verify(rule: Provider, request: SignedRequest, now: float, secrets: tuple[str, ...]) -> None:
    """Check the signature of a request.

    Print its proof, or fail with the reason. FILE has the body, byte for byte; "-" is standard input.

    \b
    Example:
      hookbot verify github --secret env:GITHUB_SECRET -H "X-Hub-Signature-256: sha256=..." body.json
    """
    resolved = [resolve_secret(secret) for secret in secrets]
    for secret in resolved:
        rule.check(secret)
    try:
        found = verify_request(rule, request, resolved, now)
    except BadSignature as error:
        if not _is_changed(rule, request, resolved, now):
            raise
        raise BadSignature(
            f"{error}; without what an editor or a shell has added to the body (a byte order mark, line ends), "
            "it is genuine"
        ) from None
    click.echo("\n".join(_response_lines(found) if isinstance(found, Response) else proof_lines(rule, found, now)))


@click.command("sign")
@_of_a_request
@click.option("--secret", required=True, metavar="SECRET", help=KEY_HELP)
@click.option("--curl", is_flag=True, help="Print the curl command that sends the request to --url.")
def sign(rule: Provider, request: SignedRequest, now: float, secret: str, curl: bool) -> None:
    """Sign a request as its provider would.

    Print the headers that carry the signature. FILE has the body; "-" is standard input.

    \b
    Example:
      hookbot sign slack --secret env:SLACK_SECRET --curl --url https://hub.example.com/unsafe/pub/slack body.json
    """
    if curl and not request.url:
        raise click.UsageError("--curl needs --url.")
    signed = rule.sign(request, resolve_secret(secret), now=now)
    if curl:
        click.echo(_curl(signed, signed.body == request.body))
        return
    for name, value in signed.headers:
        if (name, value) not in request.headers:
            click.echo(f"{name}: {value}")
    if signed.url != request.url:
        click.echo(f"The URL becomes {signed.url}", err=True)
    if signed.body != request.body:
        click.echo("The signature is in the body, which becomes", err=True)
        click.echo(signed.body)


def verify_request(
    rule: Provider, request: SignedRequest, secrets: Sequence[str], now: float, *, fetch: Fetch | None = None
) -> Proof | Response:
    """Proof of a genuine request, or the response to a handshake. Runs Trio to fetch a certificate if one is needed.

    Raises `BadSignature`, `ConfigError` if a secret is unusable, or `Unavailable` if a certificate cannot be fetched.
    """
    import trio

    from ..access.fetching import fetch_small
    from ..signatures import CertificateNeeded

    try:
        return rule.handshake(request, secrets, now=now) or rule.verify(request, secrets, now=now)
    except CertificateNeeded as needed:
        needed.cache[needed.url] = trio.run(fetch or fetch_small, needed.url)
    return rule.verify(request, secrets, now=now)


def _is_changed(rule: Provider, request: SignedRequest, secrets: Sequence[str], now: float) -> bool:
    """True if the request is genuine with its body as it was before an editor or a shell saved it."""
    bodies = {request.body.rstrip(b"\r\n")}
    with suppress(UnicodeError):
        text = decode(request.body).encode()
        bodies |= {text, text.rstrip(b"\n")}
    for body in bodies:
        with suppress(BadSignature):
            rule.verify(replace(request, body=body), secrets, now=now)
            return True
    return False


def _response_lines(response: Response) -> list[str]:
    return [f"A handshake, which the hub answers with {response.status} and", repr(response.body)]


def proof_lines(rule: Provider, proof: Proof, now: float) -> list[str]:
    """Proof of a genuine request as lines of text, with its age at `now`."""
    lines = [f"Genuine: {rule.name}, with the secret {proof.key} (counting from 0)"]
    if proof.signed_at is not None:
        lines.append(f"signed {format_time(int(proof.signed_at * 1_000_000))}, {now - proof.signed_at:.0f} seconds ago")
    if proof.delivery_id:
        lines.append(f"delivery id, not signed: {proof.delivery_id}")
    if proof.confirm_url:
        lines.append(f"to be confirmed at: {proof.confirm_url}")
    lines.append(f"a repeat is recognised by: {proof.replay_key or 'nothing that is signed'}")
    return lines


def _curl(request: SignedRequest, unchanged: bool) -> str:
    file = getattr(click.get_current_context().params["file"], "name", "<stdin>")
    data = ["--data-binary", f"@{file}"] if unchanged and not file.startswith("<") else ["--data-raw", _text(request)]
    headers = [f"{name}: {value}" for name, value in request.headers]
    if not request.find_all("Content-Type"):
        # An empty Content-Type keeps curl from adding that of a form.
        headers.append("Content-Type:")
    return shlex.join(
        ["curl", "-X", request.method, *(part for header in headers for part in ("-H", header)), *data, request.url]
    )


def _text(request: SignedRequest) -> str:
    try:
        return request.body.decode()
    except UnicodeDecodeError:
        raise click.UsageError("The body is not UTF-8: --curl needs it in a file.") from None


def _latin1(header: tuple[str, str]) -> tuple[str, str]:
    """Header as a hub would receive it: the bytes of the command line, read as Latin-1."""
    name, value = (os.fsencode(part).decode("latin-1") for part in header)
    return name, value
