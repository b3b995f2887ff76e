"""The networks that senders publish: read, fetched by ``hookbot update-ranges``, kept, and used by a source."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_network
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from click.testing import CliRunner

from hookbot.access.ip_ranges import KNOWN, RangeList, networks_of, read_ranges, select_networks, write_ranges
from hookbot.cli.main import cli
from hookbot.errors import ConfigError, Unavailable
from hookbot.hub.sections import parse_source

PUBLISHED = Path(__file__).parents[1] / "published"
FILES = {
    "github": "github",
    "bitbucket": "atlassian",
    "jira": "atlassian",
    "stripe": "stripe",
    "pagerduty": "pagerduty",
}
NETWORKS = {
    "github": {
        *("192.30.252.0/22", "185.199.108.0/22", "140.82.112.0/20", "143.55.64.0/20"),
        *("2a0a:a440::/29", "2606:50c0::/32"),
    },
    "bitbucket": {"104.192.136.0/21", "2401:1d80:3000::/36"},
    "jira": {"104.192.136.0/21", "13.200.41.128/25", "2401:1d80:3000::/36"},
    "stripe": {"3.18.12.63/32", "3.130.192.231/32", "13.235.14.237/32", "54.187.216.72/32"},
    "pagerduty": {"44.242.69.192/32", "52.89.71.166/32", "54.213.187.133/32"},
}


def published(name: str) -> bytes:
    return (PUBLISHED / f"{FILES[name]}.json").read_bytes()


# --- what is published


@pytest.mark.parametrize("name", KNOWN)
def test_what_a_sender_publishes_has_the_networks_that_it_sends_from(name: str) -> None:
    assert set(select_networks(published(name), KNOWN[name].select, KNOWN[name].url)) == NETWORKS[name]


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"<html>",
        b"{}",
        b'{"hooks": []}',
        b'{"hooks": null}',
        b'{"hooks": "192.0.2.0/24"}',
        b'{"hooks": ["192.0.2.0/24", "localhost"]}',
        b'{"hooks": ["192.0.2.1/24"]}',
        b'{"hooks": [5]}',
        b'{"hooks": [null]}',
        b'{"hooks": {"192.0.2.0/24": 1, "x": 2}}',
        b'{"hooks": ["0.0.0.0/0"]}',
        b'{"hooks": ["192.0.2.0/24", "::/0"]}',
        b'{"hooks": ["128.0.0.0/1"]}',
        b"[" * 100_000,
        b"\xff",
    ],
)
def test_what_cannot_be_a_list_of_networks_is_refused(document: bytes) -> None:
    with pytest.raises(Unavailable):
        select_networks(document, "hooks", "https://api.github.com/meta")


def test_an_expression_that_is_none_is_refused() -> None:
    with pytest.raises(Unavailable):
        select_networks(b"{}", "hooks[", "https://api.github.com/meta")


# --- what is kept


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "data" / "ranges.json"
    ranges = {"acme": RangeList("https://acme.example", "@", ("192.0.2.0/24",), "2026-01-02T03:04:05.000000Z")}
    assert read_ranges(path) == {}
    write_ranges(path, ranges)
    assert read_ranges(path) == ranges
    assert networks_of(ranges) == {"acme": [ip_network("192.0.2.0/24")]}
    assert [file.name for file in path.parent.iterdir()] == ["ranges.json"]


@pytest.mark.parametrize(
    "text", ["", "[]", '{"acme": []}', '{"acme": {"url": "", "select": ""}}', '{"acme": {"x": 1}}']
)
def test_a_file_that_is_none_is_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "ranges.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"ranges\.json"):
        read_ranges(path)


def test_a_network_that_is_none_is_told() -> None:
    with pytest.raises(ConfigError):
        networks_of({"acme": RangeList("", "", ("192.0.2.1/24",))})


# --- the command


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
            """Say nothing."""

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
    return {f"/{name}": published(name) for name in KNOWN}


@pytest.fixture
def local(pages: dict[str, bytes | None], monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Everything that is known is published here."""
    with web(pages) as url:
        for name, one in KNOWN.items():
            monkeypatch.setitem(KNOWN, name, RangeList(f"{url}/{name}", one.select))
        yield url


def update(tmp_path: Path, *args: Any) -> tuple[int, str]:
    result = CliRunner().invoke(cli, ["update-ranges", "--data-dir", str(tmp_path), *args])
    return result.exit_code, result.output


def kept(tmp_path: Path) -> dict[str, set[str]]:
    return {name: set(one.networks) for name, one in read_ranges(tmp_path / "ranges.json").items()}


def test_what_is_asked_for_is_fetched_and_a_source_can_name_it(local: str, tmp_path: Path) -> None:
    assert update(tmp_path, "github", "stripe") == (
        0,
        (
            "github: 140.82.112.0/20, 143.55.64.0/20, 185.199.108.0/22, 192.30.252.0/22, "
            "2606:50c0::/32, 2a0a:a440::/29\n"
            "stripe: 3.18.12.63/32, 3.130.192.231/32, 13.235.14.237/32, 54.187.216.72/32\n"
        ),
    )
    assert kept(tmp_path) == {"github": NETWORKS["github"], "stripe": NETWORKS["stripe"]}

    section = {"topic": "/unsafe/x/", "provider": "github", "secrets": ["s"], "allow_from": ["github", "10.0.0.0/8"]}
    source = parse_source(section, str, networks_of(read_ranges(tmp_path / "ranges.json")))
    assert {str(network) for network in source.allow_from} == {*NETWORKS["github"], "10.0.0.0/8"}


def test_without_a_name_all_that_was_fetched_before_is_fetched_again(
    local: str, pages: dict[str, bytes | None], tmp_path: Path
) -> None:
    update(tmp_path, "github", "stripe")
    pages["/stripe"] = b'{"WEBHOOKS": ["203.0.113.7"]}'
    assert update(tmp_path)[1].splitlines()[1] == "stripe: 203.0.113.7/32"
    assert kept(tmp_path)["github"] == NETWORKS["github"]
    assert kept(tmp_path)["stripe"] == {"203.0.113.7/32"}


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


def test_a_list_of_ones_own_is_remembered_with_its_place(
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
        (["acme"], "not known"),
        (["acme", "--url", "http://127.0.0.1:1"], "not known"),
        (["github", "stripe", "--url", "http://127.0.0.1:1"], "one NAME"),
    ],
)
def test_what_cannot_be_meant_is_told(tmp_path: Path, args: list[str], reason: str) -> None:
    code, output = update(tmp_path, *args)
    assert code == 2
    assert reason in output
    assert not (tmp_path / "ranges.json").exists()
