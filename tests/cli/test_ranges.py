"""``hookbot update-ranges``: lists that are fetched from a server of this process, kept, and used by a source."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from click.testing import CliRunner

from hookbot.access.ip_ranges import KNOWN, RangeList, networks_of, read_ranges
from hookbot.cli.ranges import update_ranges
from hookbot.hub.source_section import parse_source

PUBLISHED: dict[str, bytes | None] = {
    "/github": b'{"hooks": ["192.30.252.0/22", "2606:50c0::/32"]}',
    "/stripe": b'{"WEBHOOKS": ["3.18.12.63"]}',
}
NETWORKS = {"github": {"192.30.252.0/22", "2606:50c0::/32"}, "stripe": {"3.18.12.63/32"}}


@contextmanager
def web(pages: dict[str, bytes | None]) -> Iterator[str]:
    """A server of these pages; a page of None is an error."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = pages.get(self.path)
            self.send_response(500 if body is None else 200)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *args: str) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def pages() -> dict[str, bytes | None]:
    return dict(PUBLISHED)


@pytest.fixture
def local(pages: dict[str, bytes | None], monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Every known list is published by this server."""
    with web(pages) as url:
        for name, one in KNOWN.items():
            monkeypatch.setitem(KNOWN, name, RangeList(f"{url}/{name}", one.select))
        yield url


def update(tmp_path: Path, *args: Any) -> tuple[int, str]:
    result = CliRunner().invoke(update_ranges, ["--data-dir", str(tmp_path), *args])
    return result.exit_code, result.output


def kept(tmp_path: Path) -> dict[str, set[str]]:
    return {name: set(one.networks) for name, one in read_ranges(tmp_path / "ranges.json").items()}


def test_what_is_asked_for_is_fetched_and_a_source_can_name_it(local: str, tmp_path: Path) -> None:
    assert update(tmp_path, "github", "stripe") == (
        0,
        "github: 192.30.252.0/22, 2606:50c0::/32\nstripe: 3.18.12.63/32\n",
    )
    assert kept(tmp_path) == NETWORKS

    section = {"topic": "/unsafe/x/", "provider": "github", "secrets": ["s"], "allow_from": ["github", "10.0.0.0/8"]}
    source = parse_source(section, str, networks_of(read_ranges(tmp_path / "ranges.json")))
    assert {str(network) for network in source.allow_from} == {*NETWORKS["github"], "10.0.0.0/8"}


@pytest.mark.slow
def test_without_a_name_all_that_was_fetched_before_is_fetched_again(
    local: str, pages: dict[str, bytes | None], tmp_path: Path
) -> None:
    update(tmp_path, "github", "stripe")
    pages["/stripe"] = b'{"WEBHOOKS": ["203.0.113.7"]}'
    assert update(tmp_path)[1].splitlines()[1] == "stripe: 203.0.113.7/32"
    assert kept(tmp_path)["github"] == NETWORKS["github"]
    assert kept(tmp_path)["stripe"] == {"203.0.113.7/32"}


@pytest.mark.slow
def test_what_cannot_be_fetched_stays_as_it_was_and_the_rest_is_fetched(
    local: str, pages: dict[str, bytes | None], tmp_path: Path
) -> None:
    update(tmp_path, "github", "stripe")
    pages["/github"] = None
    pages["/stripe"] = b'{"WEBHOOKS": ["203.0.113.7"]}'
    code, output = update(tmp_path)
    assert code == 1
    assert "github: " in output
    assert "500" in output
    assert kept(tmp_path) == {"github": NETWORKS["github"], "stripe": {"203.0.113.7/32"}}


def test_a_list_of_ones_own_is_remembered_with_its_url(
    local: str, pages: dict[str, bytes | None], tmp_path: Path
) -> None:
    pages["/ours"] = json.dumps({"out": [{"net": "192.0.2.0/24"}]}).encode()
    assert update(tmp_path, "ghes", "--url", f"{local}/ours", "--select", "out[].net")[0] == 0
    pages["/ours"] = json.dumps({"out": [{"net": "198.51.100.0/24"}]}).encode()
    assert update(tmp_path)[0] == 0
    assert kept(tmp_path) == {"ghes": {"198.51.100.0/24"}}


def test_what_is_known_can_be_elsewhere(local: str, pages: dict[str, bytes | None], tmp_path: Path) -> None:
    pages["/mirror"] = b'{"hooks": ["192.0.2.0/24"]}'
    assert update(tmp_path, "github", "--url", f"{local}/mirror")[0] == 0
    assert kept(tmp_path) == {"github": {"192.0.2.0/24"}}


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        ([], "Give a NAME: github, bitbucket"),
        (["acme"], "unknown list"),
        (["acme", "--url", "http://127.0.0.1:1"], "unknown list"),
        (["github", "stripe", "--url", "http://127.0.0.1:1"], "one NAME"),
    ],
)
def test_what_cannot_be_meant_is_told(tmp_path: Path, args: list[str], reason: str) -> None:
    code, output = update(tmp_path, *args)
    assert code == 2
    assert reason in output
    assert not (tmp_path / "ranges.json").exists()
