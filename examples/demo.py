"""Demo of one organisation-wide GitHub webhook with two listeners, each of which receives what it subscribes to.

Starts a hub on a free port, connects two listeners, and posts signed GitHub deliveries to the one URL that an
organisation would enter on GitHub. `make demo` runs it.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import trio

import hookbot
from hookbot.access.tokens import make_token
from hookbot.signatures import SignedRequest, load_provider

KEY, SECRET = "demo-key", "demo-secret"
DELIVERIES = Path(__file__).parent.parent / "tests" / "deliveries"
EVENTS = ("push", "issues", "pull_request", "star", "release", "check_run", "organization")
REPOSITORY = "Codertocat/Hello-World"


def main() -> None:
    """Run the demo."""
    with hub() as url:
        click.secho(f"A hub listens on {url}, with the GitHub router.\n", bold=True)
        trio.run(demo, url)


@contextmanager
def hub() -> Iterator[str]:
    """URL of a hub that runs in a separate process until the block ends."""
    with tempfile.TemporaryDirectory() as data_dir:
        serve = [sys.executable, "-m", "hookbot", "--key", KEY, "--github-secret", SECRET]
        serve += ["serve", "--bind", "127.0.0.1:0", "--data-dir", data_dir, "--router", "github"]
        with subprocess.Popen(serve, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout
            try:
                yield process.stdout.readline().split()[-1]
            finally:
                process.terminate()


async def demo(url: str) -> None:
    """Connect two listeners, post deliveries, and finally post a forged one."""
    async with trio.open_nursery() as nursery:
        exact, subtree = f"github.com/repo/{REPOSITORY}", "github.com/"
        await nursery.start(listen, url, "one repository", exact, "green")
        await nursery.start(listen, url, "everything", subtree, "cyan")
        click.echo("GitHub posts to one URL for the whole organisation:\n")
        for event in EVENTS:
            await deliver(url, event, SECRET)
        click.echo("")
        await deliver(url, "push", "not the secret")
        # Long enough for the listeners to print their last messages.
        nursery.cancel_scope.deadline = trio.current_time() + 1


async def listen(url: str, name: str, topic: str, color: str, *, task_status: trio.TaskStatus[None]) -> None:
    """Print the messages of a topic until cancelled."""
    address = f"{url}/sub/{topic}"
    async with hookbot.listen(address, token=make_token(KEY, f"/sub/{topic}")) as messages:
        click.secho(f"  {name:15} listens to {topic}", fg=color)
        task_status.started()
        async for message in messages:
            assert isinstance(message, hookbot.Message), "a new hub has lost nothing"
            click.secho(f"  {name:15} <- {message.topic}", fg=color)


async def deliver(url: str, event: str, secret: str) -> None:
    """Post a delivery as GitHub does."""
    body = next(DELIVERIES.glob(f"{event}.*.json")).read_bytes()
    headers = (("Content-Type", "application/json"), ("X-GitHub-Event", event), ("X-GitHub-Delivery", f"demo-{event}"))
    signed = load_provider("github").sign(SignedRequest(body, headers), secret, now=0)
    about = json.loads(body).get("repository", {}).get("full_name", "the organisation")
    click.secho(f"POST /unsafe/pub/github.com/org/demo  {event}, about {about}", bold=True)
    try:
        await hookbot.publish(f"{url}/unsafe/pub/github.com/org/demo", body, headers=signed.headers)
    except hookbot.Refused as error:
        click.secho(f"  refused, it is signed with another secret: {error}", fg="red")
    # Time for the listeners to print it before the next delivery is announced.
    await trio.sleep(0.1)


if __name__ == "__main__":
    main()
