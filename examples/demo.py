"""Demo of one organisation-wide GitHub webhook with three listeners, each of which hears only what it subscribes to.

Starts a hub on a free port, connects a listener to each of two repositories and one to both, and posts signed GitHub
deliveries to the one URL that an organisation would enter on GitHub. `make demo` runs it.
"""

import json
import subprocess
import sys
import tempfile
from collections import Counter
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
OWNER, SAMPLE, NEIGHBOUR = "Codertocat", "Hello-World", "Spoon-Knife"
EVENTS = (
    ("push", SAMPLE),
    ("push", NEIGHBOUR),
    ("issues", SAMPLE),
    ("pull_request", NEIGHBOUR),
    ("release", NEIGHBOUR),
    ("check_run", SAMPLE),
)


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
    """Connect the listeners, post deliveries and a forged one, and say who heard how many."""
    heard: Counter[str] = Counter()
    async with trio.open_nursery() as nursery:
        for name, color in ((SAMPLE, "green"), (NEIGHBOUR, "yellow"), ("", "cyan")):
            await nursery.start(listen, url, f"{OWNER}/{name}", color, heard)
        click.echo("\nGitHub posts to one URL for the whole organisation:\n")
        for event, repository in EVENTS:
            await deliver(url, event, repository, SECRET)
        click.echo("")
        await deliver(url, "push", SAMPLE, "not the secret")
        # Long enough for the listeners to print their last messages.
        nursery.cancel_scope.deadline = trio.current_time() + 1
    click.secho("\nThe listener of a repository heard nothing of its neighbour:", bold=True)
    for name, count in heard.items():
        click.echo(f"  {name:24} {count} messages")


async def listen(url: str, name: str, color: str, heard: Counter[str], *, task_status: trio.TaskStatus[None]) -> None:
    """Print and count the messages about a repository, or about all of an owner's, until cancelled."""
    topic, heard[name] = f"github.com/repo/{name}", 0
    async with hookbot.listen(f"{url}/sub/{topic}", token=make_token(KEY, f"/sub/{topic}")) as messages:
        click.secho(f"  {name:24} listens to {topic}", fg=color)
        task_status.started()
        async for message in messages:
            assert isinstance(message, hookbot.Message), "a new hub has lost nothing"
            heard[name] += 1
            click.secho(f"  {name:24} <- {message.topic}", fg=color)


async def deliver(url: str, event: str, repository: str, secret: str) -> None:
    """Post a delivery as GitHub does."""
    sample = next(DELIVERIES.glob(f"{event}.*.json")).read_bytes()
    body = sample.replace(SAMPLE.encode(), repository.encode())
    delivery = f"{repository}-{event}"
    headers = (("Content-Type", "application/json"), ("X-GitHub-Event", event), ("X-GitHub-Delivery", delivery))
    signed = load_provider("github").sign(SignedRequest(body, headers), secret, now=0)
    about = json.loads(body)["repository"]["full_name"]
    click.secho(f"POST /unsafe/pub/github.com/org/demo  {event}, about {about}", bold=True)
    try:
        await hookbot.publish(f"{url}/unsafe/pub/github.com/org/demo", body, headers=signed.headers)
    except hookbot.Refused as error:
        click.secho(f"  refused, it is signed with another secret: {error}", fg="red")
    # Time for the listeners to print it before the next delivery is announced.
    await trio.sleep(0.1)


if __name__ == "__main__":
    main()
