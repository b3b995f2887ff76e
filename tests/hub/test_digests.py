"""Digests of a configuration: the same for hubs that do the same, and another for each part that is another."""

import json
from pathlib import Path
from typing import Any

import pytest

from hookbot.hub.digests import configuration_digests
from hookbot.hub.secret_store import StoredSecret
from hookbot.log.duties import differing
from hookbot.log.retention import Retention
from support.hubs import configured

A = '[[sources]]\ntopic = "/unsafe/a/"\nprovider = "stripe"\nsecrets = ["s3cret"]\n'
B = '[[sources]]\ntopic = "/unsafe/b/"\nprovider = "hmac"\nsecrets = ["another"]\n'
ROUTERS = '[routers.github]\nhost = "github.com"\nday = 2020-01-01\n'
TEXT = A + B + ROUTERS
OPTIONS: dict[str, Any] = {
    "key": StoredSecret("the key"),
    "old_keys": ("old one", "old two"),
    "routers": ("github", "x"),
    "github_secrets": (StoredSecret("s3cret of github"),),
    "unsafe_prefixes": ("a/", "b/", "github.com/"),
    "cors_origins": ("https://a.example", "https://b.example"),
}


def digests(tmp_path: Path, text: str = TEXT, **options: Any) -> str:
    return configuration_digests(configured(tmp_path, text, **{**OPTIONS, **options}))


@pytest.mark.parametrize(
    ("text", "options"),
    [
        (TEXT, {"bind": (":1",), "data_dir": Path("/elsewhere"), "max_subscribers": 5, "grace_s": 3, "door": False}),
        (TEXT, {"key": StoredSecret("the key", Path("of/this/hub")), "old_keys": ("old two", "old one")}),
        (TEXT, {name: OPTIONS[name][::-1] for name in ("routers", "cors_origins", "unsafe_prefixes")}),
        (B + A.replace('"s3cret"', '"env:ELSEWHERE"') + ROUTERS, {}),
        (TEXT + "[routers.of-nobody]\nx = 1\n", {}),
    ],
)
def test_hubs_that_do_the_same_do_not_differ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, options: dict[str, Any]
) -> None:
    monkeypatch.setenv("ELSEWHERE", "s3cret")
    assert differing(digests(tmp_path), digests(tmp_path, text, **options)) == []


@pytest.mark.parametrize(
    ("names", "text", "options"),
    [
        (["key"], TEXT, {"key": StoredSecret("another key")}),
        (["old-keys"], TEXT, {"old_keys": ()}),
        (["github-secrets"], TEXT, {"github_secrets": ()}),
        (["sources"], TEXT.replace('"s3cret"', '"s3cret", "s3cret2"'), {}),
        (["sources"], TEXT.replace('"s3cret"', '"env:NOBODY"'), {}),
        (["routers"], TEXT.replace("2020", "2021"), {}),
        (["alerts"], TEXT + "[[alerts]]\nrouter = 'github'\nbehind = 1\n", {}),
        (["routers"], TEXT, {"routers": ("github",)}),
        (["unsafe"], TEXT, {"unsafe_prefixes": ()}),
        (["replies"], TEXT, {"reply_prefixes": ("a/",)}),
        (["replies"], TEXT + "[reply_default]\nstatus = 200\n", {}),
        (["retention"], TEXT, {"retention": Retention(dedup_s=1)}),
        (["max-body"], TEXT, {"max_body_bytes": 1}),
        (["no-sha1"], TEXT, {"sha1_tokens": False}),
        (["plain-tokens"], TEXT, {"sha1_tokens_live_only": True}),
        (["revoked"], TEXT, {"revoked": frozenset({"laptop"})}),
        (["cors-origin"], TEXT, {"cors_origins": ()}),
        (["at-rest-key"], TEXT, {"at_rest_keys": (bytes(32),)}),
        (["sources", "max-body"], A + ROUTERS, {"max_body_bytes": 1}),
    ],
)
def test_hubs_say_in_what_they_differ(tmp_path: Path, names: list[str], text: str, options: dict[str, Any]) -> None:
    mine, theirs = digests(tmp_path), digests(tmp_path, text, **options)
    assert differing(mine, theirs) == differing(theirs, mine) == names


def test_digests_tell_nothing_without_the_key(tmp_path: Path) -> None:
    with_another = json.loads(digests(tmp_path, key=StoredSecret("another key")))
    for name, digest in json.loads(digests(tmp_path)).items():
        assert len(digest) == 8
        assert int(digest, 16) != int(with_another[name], 16)


def test_what_another_version_does_not_know_is_not_compared() -> None:
    assert differing('{"key": "1", "new": "2"}', '{"key": "1", "old": "3"}') == []
