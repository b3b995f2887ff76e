"""``hookbot trigger``: a sample event of a provider, posted as its sender would."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from uuid import uuid4

import click
from click.shell_completion import CompletionItem

from ..errors import ConfigError, Refused
from ..hub.secret_store import resolve_secret
from ..protocol.json_text import read_json
from ..protocol.paths import SOURCES
from ..terminal import one_line
from .display import for_terminal
from .hub_api import Ask, ask_at
from .parameters import Given, Parsed, cafile, data_dir, headers, read_headers, read_input
from .sign_options import KEY_HELP, complete_provider, provider_option
from .sources import send_test
from .topics import profile

if TYPE_CHECKING:
    from ..delivery.target import Target
    from ..signatures import Provider, SignedRequest

# More of an answer than anybody reads.
_MAX_ANSWER_BYTES = 1 << 20
_ANSWER_S = 10.0


def _assignment(text: str) -> tuple[str, Any]:
    """Path and value of ``PATH=VALUE``; a VALUE that is no JSON is a string. Raises `ConfigError` without a ``=``."""
    path, equals, value = text.partition("=")
    if not equals or not path:
        raise ConfigError(f"it has to be PATH=VALUE, not {text!r}")
    try:
        return path, read_json(value)
    except ValueError:
        return path, value


def _complete_event(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from ..signatures.samples import event_names

    names = event_names(context.params.get("provider") or "")
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


@dataclass(frozen=True, slots=True)
class _Sender:
    """A sender, as the options describe it."""

    secret: str | None
    unsigned: bool
    options: tuple[tuple[str, Any], ...]
    values: tuple[tuple[str, Any], ...]
    body: BinaryIO | None
    headers: tuple[str, ...]
    signed_url: str | None

    @property
    def is_described(self) -> bool:
        """True if any option describes it."""
        return any(getattr(self, one.name) for one in fields(self))

    def check(self, *, by_hub: bool) -> None:
        """Raise `UsageError` if something is missing or does not go together."""
        if by_hub and self.is_described:
            raise click.UsageError(
                "A hub signs samples as they are: --url goes with no option that changes or signs one."
            )
        if not by_hub and (self.secret is None) != self.unsigned:
            raise click.UsageError(
                "Needs --secret or --unsigned, or --url for a hub that signs with that of its source."
            )
        if self.values and self.body:
            raise click.UsageError("--set changes the sample, and --body replaces it.")

    def request(self, provider: Provider, event: str, target: Target) -> SignedRequest:
        """The request to a target. Raises as `Provider.sign` does."""
        from ..signatures.samples import sample
        from ..signatures.samples.paths import has_path

        made = sample(provider, event, id=f"hookbot-test-{uuid4()}", now_s=time.time())
        for path, value in self.values:
            if not has_path(made.content, path):
                click.echo(f"{path} is not in the sample of {event}, and is added", err=True)
            made = made.with_value(path, value)
        body = read_input(self.body) if self.body else None
        request = made.with_headers(read_headers(self.headers)).request(provider, self.signed_url or target.url, body)
        return request if self.secret is None else provider.sign(request, resolve_secret(self.secret), now=time.time())


@click.command()
@click.argument("provider", required=False, shell_complete=complete_provider)
@click.argument("event", required=False, shell_complete=_complete_event)
@click.argument("target", required=False, metavar="[URL]")
@click.option("--secret", metavar="SECRET", help=KEY_HELP)
@click.option("--unsigned", is_flag=True, help="Post it without a signature.")
@provider_option
@click.option(
    "--set",
    "values",
    multiple=True,
    type=Parsed("value", _assignment),
    metavar="PATH=VALUE",
    help="Set a field, such as data.object.amount=1200. VALUE is JSON, or else text. Repeatable.",
)
@click.option("--body", type=click.File("rb"), help='Post FILE in place of the sample; "-" is standard input.')
@headers
@click.option("--signed-url", metavar="URL", help="URL to sign, if a proxy makes another one of it.")
@click.option("--url", "-u", "hub", metavar="HUB", help="URL of a hub, with a token, that sends it to its own source.")
@profile
@data_dir
@cafile
@click.pass_obj
def trigger(
    given: Given,
    /,
    provider: str | None,
    event: str | None,
    target: str | None,
    hub: str | None,
    data_dir: Path,
    cafile: Path | None,
    **sender: Any,
) -> int | None:
    """Post a sample event of a provider, signed, as its sender would.

    Without EVENT, list the events of PROVIDER; without PROVIDER, those of all. URL is that of any server, such as
    localhost:3000/webhook, or of a topic. The answer is printed. With --url, or without URL, a hub sends the event to
    its own source, of which it has the secret; if it has several of PROVIDER, URL is the topic of one. The id is
    printed.

    \b
    Examples:
      hookbot trigger stripe invoice.paid localhost:3000/webhook --secret env:STRIPE_SECRET
      hookbot trigger github push --url https://TOKEN@hub.example.com
    """
    if provider is None or event is None:
        click.echo("\n".join(_listed(provider)))
        return None
    described = _Sender(**sender)
    # No target begins with a slash, but topics of sources do.
    by_hub = hub is not None or (not described.is_described and (target is None or target.startswith("/")))
    if by_hub:
        described.check(by_hub=True)
    rule = _provider(provider, event, dict(described.options))
    if by_hub:
        ask = ask_at(given, hub or os.environ.get("HOOKBOT_URL"), data_dir, cafile)
        send_test(ask, target or _topic(ask, provider), event)
        return None
    if target is None:
        raise click.UsageError("Needs URL to post to, or --url for a hub that sends the event to its own source.")
    described.check(by_hub=False)
    return _post(described, rule, event, target, cafile)


def _listed(provider: str | None) -> Iterator[str]:
    from ..signatures import load_provider, provider_names
    from ..signatures.samples import event_names

    if provider:
        yield from event_names(load_provider(provider).name)
        return
    width = max(map(len, provider_names()))
    for name in provider_names():
        yield f"{name:{width}}  {', '.join(event_names(name))}"


def _provider(name: str, event: str, options: dict[str, Any]) -> Provider:
    from ..signatures import load_provider
    from ..signatures.samples import check_event

    rule = load_provider(name, options)
    try:
        check_event(name, event)
    except Refused as error:
        raise click.UsageError(f"{error}") from None
    return rule


def _topic(ask: Ask, provider: str) -> str:
    """The topic of the only source of a provider. Raises `UsageError` unless there is one."""
    from ..client.http import rows

    topics = [str(row.get("topic")) for row in rows(ask("GET", SOURCES), "sources") if row.get("provider") == provider]
    if len(topics) != 1:
        found = f"several sources of {provider}: give the topic of one, {' or '.join(map(one_line, topics))}"
        raise click.UsageError(f"The hub has {found if topics else f'no source of {provider}'}.")
    return topics[0]


def _post(sender: _Sender, provider: Provider, event: str, url: str, ca_file: Path | None) -> int:
    """Post the event, print the answer, and return the exit code."""
    import trio

    from ..delivery.target import Target
    from ..protocol.response import error_from, title_of
    from .main import exit_code

    target = Target.parse(url)
    if target.socket:
        raise click.UsageError("URL is http:// or https://.")
    (status, fields, body), s = trio.run(partial(_answer, target, sender.request(provider, event, target), ca_file))
    click.echo(f"{provider.name} {event}: {title_of(status)} from {target} in {s * 1000:.0f} ms", err=True)
    click.echo(for_terminal(body) if body and sys.stdout.isatty() else body, nl=False)
    return 0 if 200 <= status < 300 else exit_code(error_from(status, fields, body, of_hub=False))


async def _answer(
    target: Target, request: SignedRequest, ca_file: Path | None
) -> tuple[tuple[int, Mapping[str, str], bytes], float]:
    """Status, header fields and body of the answer to a request, and the seconds that it took. Raises as `fetch`."""
    import httpx

    from ..client.connect import proxy_unless_local
    from ..client.http import RequestBody, fetch, open_client
    from ..protocol.headers import encoded

    address = target.address
    own = (("Host", address.netloc), *address.authorization_header(), ("Content-Length", str(len(request.body))))
    named = {name.lower() for name, _ in request.headers}
    sent = encoded((*(pair for pair in own if pair[0].lower() not in named), *request.headers))
    path = f"{address.path}?{request.query}" if request.query else address.path
    async with open_client(address, ca_file, direct=proxy_unless_local(address) is None) as client:
        posted = httpx.Request(
            "POST", address.origin, headers=sent, stream=RequestBody(request.body), extensions={"target": path.encode()}
        )
        began = time.monotonic()
        answer = await fetch(client, posted, address, max_bytes=_MAX_ANSWER_BYTES, drain_s=_ANSWER_S)
        return answer, time.monotonic() - began
