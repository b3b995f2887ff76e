import hmac
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import pytest
import trio

from hookbot.errors import ConfigError
from hookbot.protocol.message import Draft, Message, Verified
from hookbot.routers import Secret
from hookbot.routers import github as github_module
from hookbot.routers.github import SMALL_BYTES, GitHubRouter, VerifyingGitHubRouter
from hookbot.routers.outbox import DraftCollector
from hookbot.testing import route, signed_delivery

DELIVERIES = sorted((Path(__file__).parent.parent / "deliveries").glob("*.json"))
SECRET = Secret("It's a Secret to Everybody")
TOPIC = "/unsafe/github.com/org/acme"
ZEROS = "0" * 40


def body_of(name: str) -> bytes:
    return next(path for path in DELIVERIES if path.name == name).read_bytes()


def signed(
    body: bytes,
    event: str = "push",
    secret: Secret = SECRET,
    digest: str = "sha256",
    form: bool = False,
    extra: Sequence[tuple[str, str]] = (),
    **fields: Any,
) -> Message:
    """A delivery as the log stores it."""
    if form:
        body = b"payload=" + quote_plus(body).encode()
    header = {"sha256": "X-Hub-Signature-256", "sha1": "X-Hub-Signature"}[digest]
    signature = f"{digest}={hmac.new(secret.encode(), body, digest).hexdigest()}"
    headers = (
        ("Content-Type", "application/x-www-form-urlencoded" if form else "application/json"),
        ("X-GitHub-Event", event),
        ("X-GitHub-Delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958"),
        (header, signature),
        *extra,
    )
    return Message(TOPIC, body, headers, id="abcdefgh-000000000000001", **fields)


async def routed(message: Message, *secrets: Any, **options: Any) -> list[Draft]:
    publisher = DraftCollector("github", message)
    await GitHubRouter(secrets or [SECRET], **options).route(message, publisher)
    return list(publisher.published.values())


def push(**fields: Any) -> bytes:
    return json.dumps({**json.loads(body_of("push.1.json")), **fields}).encode()


@pytest.mark.parametrize("form", [False, True], ids=["json", "form"])
@pytest.mark.parametrize("path", DELIVERIES, ids=lambda path: path.stem)
async def test_every_kind_of_delivery_is_published_whole_where_it_belongs(path: Path, form: bool) -> None:
    body, event = path.read_bytes(), path.name.partition(".")[0]
    payload = json.loads(body)
    message = signed(body, event, form=form)

    published = await routed(message)

    *summaries, whole = published
    if event == "security_advisory":
        assert whole.topic == "github.com/event/security_advisory"
    elif "repository" in payload:
        assert whole.topic == f"github.com/repo/{payload['repository']['full_name']}"
    elif "organization" in payload:
        assert whole.topic == f"github.com/org/{payload['organization']['login']}"
    else:
        assert whole.topic == f"github.com/org/{payload['installation']['account']['login']}"
    assert (whole.body, whole.headers, whole.query) == (message.body, message.headers, "extra-metadata=github")
    assert whole.hops == ("github",)
    assert len(summaries) == (event == "push")


@pytest.mark.parametrize(
    "repository", [{"full_name": "acme/app"}, {"full_name": ""}, {"full_name": 1}, {"id": 1}, {}, None]
)
@pytest.mark.parametrize(
    "fields",
    [
        *({"organization": {"login": login, "username": "acme"}} for login in ("acme", "", None)),
        *({"organization": organization} for organization in ({"username": "acme"}, {"id": 1}, {}, "acme", None)),
        *({"installation": "x"}, {"organization": {"login": "acme"}, "installation": "x"}),
        *({"ref": 1}, {"after": None}, {"deleted": 1}, {"deleted": True}, {"pusher": {"name": "Zoë"}}),
    ],
)
async def test_a_delivery_is_routed_the_same_whether_a_part_of_it_is_read_or_all(
    repository: Any, fields: dict[str, Any]
) -> None:
    body = push(repository=repository, **fields)

    async def outcome(*, form: bool) -> Any:
        try:
            *summaries, whole = await routed(signed(body, form=form), deleted_refs=False)
        except ValueError as error:
            return str(error)
        return whole.topic, [(summary.topic, summary.body) for summary in summaries]

    assert await outcome(form=False) == await outcome(form=True)


async def test_the_summary_of_a_push_is_the_ancestors_byte_for_byte() -> None:
    body = push(
        ref="refs/heads/feature/<&>",
        after="a" * 40,
        pusher={"name": "Zoë"},
        repository={"full_name": "acme/app"},
    )

    summary, _ = await routed(signed(body))

    assert summary.topic == "github.com/repo/acme/app/branch/feature/<&>"
    assert summary.body == (
        b'{"Branch":"feature/\\u003c\\u0026\\u003e","Repo":"acme/app","SHA":"' + b"a" * 40 + b'","Type":"push",'
        b'"Who":"Zo\xc3\xab"}'
    )
    assert summary.headers == (("Content-Type", "application/json"),)
    assert summary.query == ""


@pytest.mark.parametrize("branch", ["a\x85b", "x" * 1024, "\ud800"])
async def test_a_branch_that_can_be_no_topic_costs_only_its_summary(branch: str) -> None:
    [whole] = await routed(signed(push(ref=f"refs/heads/{branch}")))
    assert whole.topic == "github.com/repo/Codertocat/Hello-World"


@pytest.mark.parametrize("event", ["star.0", "create.0", "pull_request.0", "organization.0", "installation.0"])
async def test_another_delivery_that_is_called_a_push_has_no_summary(event: str) -> None:
    [whole] = await routed(signed(body_of(f"{event}.json"), "push"))
    assert "/branch/" not in whole.topic


async def test_a_push_by_nobody_is_by_unknown() -> None:
    summary, _ = await routed(signed(push(pusher=None)))
    assert json.loads(summary.body)["Who"] == "<unknown>"
    assert b"\\u003cunknown\\u003e" in summary.body


async def test_a_tag_keeps_its_prefix_and_can_be_left_out() -> None:
    message = signed(push(ref="refs/tags/v1.0"))

    summary, _ = await routed(message)
    without = await routed(message, tags=False)

    assert summary.topic.endswith("/branch/refs/tags/v1.0")
    assert [draft.topic for draft in without] == ["github.com/repo/Codertocat/Hello-World"]


async def test_a_deleted_branch_has_a_summary_of_zeros_which_can_be_left_out() -> None:
    message = signed(push(deleted=True, after=ZEROS, head_commit=None))

    summary, _ = await routed(message)
    without = await routed(message, deleted_refs=False)

    assert json.loads(summary.body)["SHA"] == ZEROS
    assert len(without) == 1


async def test_only_the_events_asked_for_are_published() -> None:
    assert await routed(signed(body_of("star.0.json"), "star"), events=["push", "release"]) == []
    assert len(await routed(signed(body_of("release.0.json"), "release"), events=["push", "release"])) == 1


async def test_an_installation_belongs_to_its_account_and_an_enterprise_to_itself() -> None:
    [app] = await routed(signed(body_of("installation.0.json"), "installation"))
    [enterprise] = await routed(signed(b'{"enterprise": {"slug": "acme-inc"}}', "ping"))

    assert app.topic == "github.com/org/" + json.loads(app.body)["installation"]["account"]["login"]
    assert enterprise.topic == "github.com/enterprise/acme-inc"


UNNAMED = [
    ("github_app_authorization", {"action": "revoked", "sender": {"login": "ann"}}, "org/ann"),
    ("ping", {"zen": "Keep it logically awesome.", "hook": {"type": "App", "app_id": 1}}, "event/ping"),
    ("something_new", {"action": "created", "thing": {"owner": {"login": "acme"}}}, "event/something_new"),
    ("installation", {"installation": {"id": 1, "target_type": "Enterprise", "account": None}}, "event/installation"),
]


@pytest.mark.parametrize(("event", "payload", "topic"), UNNAMED)
async def test_what_names_no_repository_or_organisation_has_a_topic_as_well(
    event: str, payload: dict[str, Any], topic: str
) -> None:
    [whole] = await routed(signed(json.dumps(payload).encode(), event))
    assert whole.topic == f"github.com/{topic}"


async def test_a_delivery_that_names_not_even_its_event_is_an_error_in_a_sentence() -> None:
    with pytest.raises(ValueError, match="names no repository, account, enterprise or event"):
        await routed(signed(b"{}", event=""))


@pytest.mark.parametrize("pusher", [[], {}, {"name": None}, "ann"])
async def test_a_pusher_of_another_shape_has_no_name(pusher: Any) -> None:
    summary, _ = await routed(signed(push(pusher=pusher)))
    assert json.loads(summary.body)["Who"] == ""


async def test_an_enterprise_server_has_topics_of_its_own() -> None:
    router = GitHubRouter([SECRET], host="git.acme.example")
    message = signed(push(), extra=(("X-GitHub-Enterprise-Host", "git.acme.example"),))
    publisher = DraftCollector("ghes", message)

    await router.route(message, publisher)

    assert router.topics == ("/unsafe/git.acme.example/",)
    assert [draft.topic for draft in publisher.published.values()] == [
        "git.acme.example/repo/Codertocat/Hello-World/branch/master",
        "git.acme.example/repo/Codertocat/Hello-World",
    ]


async def test_any_of_several_secrets_will_do() -> None:
    message = signed(push(), secret=Secret("the new one"))
    assert len(await routed(message, SECRET, Secret("the new one"))) == 2


async def test_a_sha1_signature_will_do_where_there_is_no_other() -> None:
    assert len(await routed(signed(push(), digest="sha1"))) == 2


def forged() -> dict[str, Message]:
    good = signed(push())
    empty = ("X-Hub-Signature-256", "")
    return {
        "another secret": signed(push(), secret=Secret("guessed")),
        "one byte more": replace(good, body=good.body + b" "),
        "no signature": replace(good, headers=good.headers[:-1]),
        "an empty signature": replace(good, headers=(*good.headers[:-1], empty)),
        "no hexadecimal": replace(good, headers=(*good.headers[:-1], ("X-Hub-Signature-256", "sha256=\xff"))),
        "a good sha1 beside a bad sha256": signed(push(), digest="sha1", extra=[("X-Hub-Signature-256", "sha256=00")]),
        "a good sha1 beside an empty sha256": signed(push(), digest="sha1", extra=[empty]),
        "another provider's": signed(push(), secret=Secret("guessed"), verified=Verified("gitlab", "0")),
    }


@pytest.mark.parametrize("how", forged())
async def test_a_forged_delivery_is_dropped_with_a_warning_that_gives_nothing_away(
    how: str, caplog: pytest.LogCaptureFixture
) -> None:
    message = forged()[how]

    assert await routed(message) == []

    [warning] = caplog.records
    assert warning.levelname == "WARNING"
    assert "72d3162e-cc78-11e3-81ab-4c9367dc0958" in warning.getMessage()
    assert message.id in warning.getMessage()
    assert SECRET not in caplog.text
    for digest in ("sha1", "sha256"):
        assert hmac.new(SECRET.encode(), message.body, digest).hexdigest() not in caplog.text


async def test_a_large_delivery_does_not_hold_up_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    def read_in_thread(body: bytes, *_: Any) -> Any:
        assert not trio.lowlevel.in_trio_task()
        return json.loads(body)

    monkeypatch.setattr(github_module, "read_content", read_in_thread)

    assert len(await routed(signed(push(more="x" * SMALL_BYTES)))) == 2


@pytest.mark.parametrize("source", ["/unsafe/github.com/org/acme", "/unsafe/github.com/org/", "/unsafe/"])
async def test_a_delivery_that_the_hub_has_verified_is_believed_and_what_it_found_travels_along(source: str) -> None:
    verified = Verified("github", "1", source=source)
    message = signed(push(), secret=Secret("of a source in the configuration"), verified=verified)

    _, whole = await routed(message)

    assert whole.verified == verified


async def test_a_delivery_verified_by_the_source_of_another_topic_needs_a_signature_of_the_routers_own() -> None:
    elsewhere = Verified("github", "0", source="/unsafe/evil/")
    assert await routed(signed(push(), secret=Secret("evil's"), verified=elsewhere)) == []
    assert len(await routed(signed(push(), verified=elsewhere))) == 2


async def test_a_delivery_that_an_older_hub_has_verified_is_believed_if_its_topic_and_it_name_the_same_owner() -> None:
    verified = Verified("github", "0")
    own = push(repository={"full_name": "Acme/app"}, organization=None)
    theirs = push(repository={"full_name": "evil/app"}, organization=None)

    assert len(await routed(signed(own, secret=Secret("of a source"), verified=verified))) == 2
    assert await routed(signed(theirs, secret=Secret("of a source"), verified=verified)) == []
    # One secret for several organisations, whatever the URL that it was posted to.
    assert len(await routed(signed(theirs, verified=verified))) == 2


NONSENSE = [b"", b"[]", b"null", b"not json", b'{"repository": {"id": 1}}', b'{"repository": {"full_name": null}}']


@pytest.mark.parametrize("body", NONSENSE)
async def test_a_signed_delivery_that_makes_no_sense_is_an_error(body: bytes) -> None:
    with pytest.raises((ValueError, LookupError)):
        await routed(signed(body))


def test_a_router_without_a_secret_cannot_be_made() -> None:
    with pytest.raises(ConfigError, match="secret"):
        GitHubRouter([])
    with pytest.raises(ConfigError, match="empty"):
        GitHubRouter([Secret("")])


async def test_every_signature_is_verified_even_if_the_hub_says_that_it_did() -> None:
    router = VerifyingGitHubRouter([Secret("s3cret")])
    body, headers = signed_delivery("github", "s3cret")
    _, forged = signed_delivery("github", "another")

    assert await route(router, TOPIC, body, headers) != []
    assert await route(router, TOPIC, body, forged, verified="github") == []
