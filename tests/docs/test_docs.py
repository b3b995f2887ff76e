"""The documentation names everything that there is."""

import inspect
import re
from pathlib import Path

import pytest

import hookbot
from hookbot import errors
from hookbot.access.client_address import DEFAULT_CONNECTIONS_PER_ADDRESS
from hookbot.access.fetching import FETCHES
from hookbot.access.rate_limits import FAILURES
from hookbot.hub.config import Config
from hookbot.log.disk_reserve import SIZE
from hookbot.protocol.bodies import UNTRUSTED, UNVERIFIED, Ceiling
from hookbot.protocol.request import MAX_PARAMETERS
from hookbot.signatures import SignedRequest, load_provider, provider_names
from hookbot.web.limits import NOISE, ConnectionLimits
from hookbot.web.unauthenticated import MAX_BYTES
from support.metrics import scrape, watched_hub

ROOT = Path(__file__).parents[2]
PAGES = {page.name: page.read_text() for page in (ROOT / "docs").glob("*.md")}
EVERYTHING = "".join(PAGES.values())
LIMITS = ConnectionLimits()
BODIES_BYTES: int = inspect.signature(Config).parameters["max_receiving_bytes"].default
SOURCE = "".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))


async def test_every_metric_is_documented_with_its_labels_and_no_other(tmp_path: Path) -> None:
    async with watched_hub(tmp_path) as hub:
        shown = await scrape(hub.http)

    # A counter without samples, such as that of refusals at the start, has a name all the same.
    names = {f"{name}_total" if kind == "counter" else name for name, kind in shown.families.items()}
    described = dict(re.findall(r"`((?:hookbot|process)_[a-z_]+)(?:\{([a-z,]+)\})?`", PAGES["metrics.md"]))
    assert set(described) == names, "docs/metrics.md has tables of all metrics"
    labels = {sample.name: set(sample.labels) for sample in shown.samples}
    assert {
        name for name, text in described.items() if name in labels and labels[name] != set(text.split(",")) - {""}
    } == set()


def statuses() -> list[int]:
    classes = [value for value in vars(errors).values() if inspect.isclass(value)]
    return sorted({error.status for error in classes if issubclass(error, errors.HookbotError)})


@pytest.mark.parametrize("status", statuses())
def test_every_status_of_an_error_is_documented(status: int) -> None:
    assert str(status) in PAGES["protocol.md"] or status == 500, "docs/protocol.md describes each status"


@pytest.mark.parametrize("name", [name for name in hookbot.__all__ if name != "API_VERSION"])
def test_every_public_name_is_documented(name: str) -> None:
    assert name in EVERYTHING, "each name of `hookbot` is described on some page of docs/"


def test_every_page_can_be_found_from_readme() -> None:
    readme = (ROOT / "README.md").read_text()

    assert {name for name in PAGES if f"docs/{name}" not in readme} == set()


@pytest.mark.parametrize(
    "text",
    [
        "A token opens one path, or all paths beneath it: hookbot make-tokens makes one.",
        "Payload URL:   ",
        "a repeat is recognised by",
        "given up after",
        "the dead-letter topic, as ",
        "listening to ",
        "no mistakes found",
        "storing messages",
        "forwarding to ",
        "the certificate is valid until",
        "the server is an old primary: it is on timeline ",
    ],
)
def test_what_a_page_shows_as_output_is_what_the_code_prints(text: str) -> None:
    assert text in SOURCE
    assert text in EVERYTHING


def test_readme_says_how_many_providers_there_are() -> None:
    assert f"[{len(provider_names())} kinds of sender][providers]" in (ROOT / "README.md").read_text()


def test_the_signature_that_is_shown_is_right() -> None:
    [(secret, body, header, seconds)] = re.findall(
        r"STRIPE_SECRET=(\S+)\necho '(.*)' .*\n.*\n```\n\n```text\n(Stripe-Signature: t=(\d+),\S+)\n",
        PAGES["providers.md"],
    )

    signed = load_provider("stripe").sign(SignedRequest(f"{body}\n".encode(), ()), secret, now=int(seconds))

    assert f"Stripe-Signature: {dict(signed.headers)['Stripe-Signature']}" == header


def form_and_values(ceiling: Ceiling) -> str:
    return f"{ceiling.values:,} values, or a form of {ceiling.form_bytes >> 20} MiB with {ceiling.fields:,} fields"


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("http.md", f"| request line and headers together | {LIMITS.max_head_bytes >> 10} KiB |"),
        ("http.md", f"| parameters of the query | {MAX_PARAMETERS} |"),
        ("http.md", f"| time for each {LIMITS.min_body_bytes >> 10} KiB of a body, or for the rest of it | "),
        ("http.md", f"or for the rest of it | {LIMITS.slow_s:g} s |"),
        ("http.md", f"| time for a whole body | {LIMITS.body_s / 60:g} min |"),
        ("http.md", f"| all bodies that are not answered yet | {BODIES_BYTES >> 20} MiB, "),
        ("http.md", f"| an idle connection | {LIMITS.keep_alive_s:g} s; "),
        ("http.md", f"`--max-connections-per-address` ({DEFAULT_CONNECTIONS_PER_ADDRESS})"),
        ("http.md", f"| {NOISE.count / NOISE.period_s:g} a second, {NOISE.count} at once |"),
        ("http.md", f"| what waits for all slow subscribers together | {LIMITS.max_held_bytes >> 20} MiB |"),
        ("http.md", f"| a subscriber that sends nothing, not even a pong | {LIMITS.deaf_s:g} s |"),
        ("operations.md", f"it sets {SIZE >> 20} MiB aside in `hookbot.reserve`"),
        ("providers.md", f"{UNVERIFIED.json_bytes >> 20} MiB of JSON in UTF-8 with {form_and_values(UNVERIFIED)}"),
        ("routers.md", f"{UNTRUSTED.json_bytes >> 20} MiB of JSON with {form_and_values(UNTRUSTED)}"),
        ("security.md", f"| [{UNVERIFIED.json_bytes >> 20} MiB, {UNVERIFIED.values:,} values]"),
        ("security.md", f"| {UNTRUSTED.json_bytes >> 20} MiB, {UNTRUSTED.values:,} values |"),
        ("security.md", f"| `--failure-rate` | {FAILURES.count} a minute |"),
        ("security.md", f"| fetches of certificates caused by one address | | {FETCHES.count} a minute |"),
        ("security.md", f"The hub has {BODIES_BYTES >> 20} MiB for all bodies"),
        ("metrics.md", f"received, verified or stored, of {BODIES_BYTES >> 20} MiB |"),
        ("security.md", f"All together to {MAX_BYTES >> 20} MiB of memory"),
    ],
)
def test_a_limit_on_a_page_is_that_of_the_code(page: str, text: str) -> None:
    assert " ".join(text.split()) in " ".join(PAGES[page].split())
