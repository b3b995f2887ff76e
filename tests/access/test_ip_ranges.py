"""The networks that senders publish: read, kept, and used by a source."""

from ipaddress import ip_network
from pathlib import Path

import pytest

from hookbot.access.ip_ranges import KNOWN, RangeList, networks_of, read_ranges, select_networks, write_ranges
from hookbot.errors import ConfigError, Unavailable

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
    "text", ["", "[]", '{"acme": []}', '{"acme": {"url": "", "select": ""}}', '{"acme": {"x": 1}}', "[" * 100_000]
)
def test_a_file_that_is_none_is_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "ranges.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"ranges\.json"):
        read_ranges(path)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_file_that_was_edited_is_read_in_its_encoding(tmp_path: Path, encoding: str) -> None:
    write_ranges(tmp_path / "ranges", KNOWN)
    (tmp_path / "ranges").write_bytes((tmp_path / "ranges").read_text().encode(encoding))
    assert read_ranges(tmp_path / "ranges") == KNOWN


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        read_ranges(tmp_path)


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"ranges\.json cannot be written"):
        write_ranges(tmp_path / "file" / "ranges.json", {})


def test_a_network_that_is_none_is_told() -> None:
    with pytest.raises(ConfigError):
        networks_of({"acme": RangeList("", "", ("192.0.2.1/24",))})
