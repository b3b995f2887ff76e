"""Settings that have no effect beside others."""

from pathlib import Path
from typing import Any

import pytest

from hookbot.hub.config import parse_store
from hookbot.hub.ineffective import exists, ineffective
from support.hubs import configured

SOURCE = '[[sources]]\ntopic = "/unsafe/x/"\nprovider = "stripe"\nsecrets = ["whsec"]\nmax_body_bytes = 1000\n'


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("", {}),
        (SOURCE, {}),
        (SOURCE, {"unsafe_prefixes": ("x",), "max_body_bytes": 1000}),
        (SOURCE, {"unsafe_prefixes": ("y", "x/y/")}),
        (SOURCE.replace("/unsafe/", ""), {"unsafe_prefixes": ()}),
        (SOURCE.replace("stripe", "square") + "url = 'https://h'", {}),
        (SOURCE.replace("stripe", "hmac") + "template = '{url}{body}'\nurl = 'https://h'", {}),
        (SOURCE.replace("stripe", "of-a-plugin") + "confirm = true\nurl = 'https://h'", {}),
        (SOURCE.replace("stripe", "aws-sns") + "confirm = true", {}),
        (SOURCE.replace("stripe", "meta") + "verify_token = 'x'", {}),
        (SOURCE.replace('"whsec"', '"shpss_x", "env:NOBODY", 5'), {}),
        (SOURCE.replace('["whsec"]', '"sk_live_x"'), {}),
        (SOURCE.replace("stripe", "header").replace("whsec", "sk_live_x"), {}),
        ("[routers.github]\n[routers.a]\nrouter = 'github'\nhost = 'ghe'\n", {"routers": ("github", "a")}),
        ("[routers.a]\n", {"routers": ("somewhere/a.py",)}),
        ("[reply_default]\nstatus = 200\n", {"reply_prefixes": ("cmd/", "/unsafe/x/"), "unsafe_prefixes": ("x",)}),
        ("", {"sha1_tokens_live_only": True, "max_subscribers": 5, "max_subscribers_per_token": 5}),
        ("", {"sha1_tokens": False, "max_subscribers_per_token": 5}),
        ("", {"store": "sqlite:", "at_rest_keys": (bytes(32),)}),
        ("", {"store": parse_store("postgresql://db"), "advertise": "http://10.0.0.5:8080"}),
    ],
)
def test_what_has_an_effect_is_not_told(tmp_path: Path, text: str, options: dict[str, Any]) -> None:
    assert list(ineffective(configured(tmp_path, text, **options))) == []


@pytest.mark.parametrize(
    ("text", "options", "told"),
    [
        (SOURCE, {"unsafe_prefixes": ()}, "hookbot.toml:2: this hub has no such unsafe topic as '/unsafe/x/'"),
        (
            "",
            {"reply_prefixes": ("/unsafe/x/",), "unsafe_prefixes": ()},
            "--reply: this hub has no such unsafe topic as",
        ),
        ("[reply_default]\nstatus = 200\n", {}, "hookbot.toml:1: it has no effect without topics whose senders may"),
        ("", {"places": {"reply-timeout": "HOOKBOT_REPLY_TIMEOUT"}}, "HOOKBOT_REPLY_TIMEOUT: it has no effect without"),
        (SOURCE, {"unsafe_prefixes": ("xy",)}, "those that exist (unsafe) are: xy"),
        (SOURCE, {"max_body_bytes": 999}, "hookbot.toml:5: 1000 is more than the 999 bytes"),
        (SOURCE.replace("stripe", "hmac") + "url = 'https://h'", {}, "toml:6: the provider hmac does not sign the URL"),
        (SOURCE.replace("stripe", "hmac") + "confirm = true", {}, "toml:6: there is nothing to confirm with"),
        (SOURCE.replace("stripe", "meta"), {}, "toml:1: without the option verify_token"),
        *(
            (
                SOURCE.replace("whsec", f"{key}s3cret"),
                {},
                f"toml:4: a secret that begins with '{key}' is one for an API",
            )
            for key in ("sk_live_", "pk_test_", "rk_live_", "ghp_", "github_pat_", "xoxb-", "xapp-", "shpat_", "SG.")
        ),
        (SOURCE.replace("whsec", 'whsec", "sk_test_s3cret'), {}, "toml:4: a secret that begins with 'sk_test_'"),
        (
            "[quotas.x]\n[quotas.'/unsafe/x/']\ncursors = 1\n",
            {"unsafe_prefixes": ("y",)},
            "toml:2: this hub has no such unsafe topic as '/unsafe/x/'",
        ),
        ("[routers.a]\n", {}, "hookbot.toml:1: [routers.a]: the hub runs no router of this name; add it"),
        ("[[alerts]]\nrouter = 'a'\nbehind = 1\n", {}, "hookbot.toml:2: the hub runs no router 'a'; add it"),
        ("[routers.a]\n", {"routers": ("ab",)}, "did you mean 'ab'?"),
        (
            "[routers.a]\nrouter = 'github'\nhost = 'ghe'\n",
            {"routers": ("a",), "unsafe_prefixes": ()},
            "'/unsafe/ghe/'",
        ),
        ("", {"sha1_tokens": False, "sha1_tokens_live_only": True}, "--plain-tokens: it has no effect"),
        ("", {"advertise": "http://10.0.0.5:8080"}, "--advertise: it has no effect without a store that several hubs"),
        ("", {"at_rest_keys": (bytes(32),)}, "--at-rest-key: it has no effect with a store in memory"),
        ("", {"max_subscribers": 4, "max_subscribers_per_token": 5}, "--max-subscribers-per-token: 5 has no effect"),
    ],
)
def test_what_has_no_effect_is_told_with_its_place(
    tmp_path: Path, text: str, options: dict[str, Any], told: str
) -> None:
    [error] = ineffective(configured(tmp_path, text, **options))
    assert told in str(error)
    assert "s3cret" not in str(error)


def test_an_unsafe_topic_exists_if_the_hub_has_a_part_of_it(tmp_path: Path) -> None:
    config = configured(tmp_path, unsafe_prefixes=("a/b",))
    assert all(exists(topic, config) for topic in ("x", "", "/unsafe/", "/unsafe/a/", "/unsafe/a/b", "/unsafe/a/b/c"))
    assert not any(exists(topic, config) for topic in ("/unsafe/a", "/unsafe/a/c", "/unsafe/x/"))
