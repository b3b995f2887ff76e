"""Whom the bodies of each provider name, and who owns that."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import pytest

from hookbot.errors import ConfigError, Forbidden
from hookbot.signatures import SignedRequest, load_provider
from hookbot.signatures.owners import Ownership, belongs, check_owner

DELIVERIES = sorted((Path(__file__).parent.parent / "deliveries").glob("*.json"))
FORM = (("Content-Type", "application/x-www-form-urlencoded"),)
REPOSITORY = {"full_name": "acme/app", "owner": {"login": "acme"}}
ACME = {"login": "acme"}
EVIL = {"login": "evil"}
GITLAB = "https://gitlab.example"
ON_APP, ON_WEB = "project/acme/web/app", "group/acme/web"


def of(provider: str) -> Ownership:
    ownership = load_provider(provider).ownership
    assert ownership
    return ownership


def names(provider: str, payload: dict[str, Any]) -> list[str]:
    return [f"{name.kind}/{name.path}" for name in of(provider).names(payload)]


NAMES: list[tuple[str, dict[str, Any], list[str]]] = [
    ("github", {"repository": REPOSITORY, "organization": ACME}, ["repo/acme/app", "org/acme", "org/acme"]),
    ("github", {"repository": None, "organization": ACME, "enterprise": {"slug": "inc"}}, ["org/acme"]),
    ("github", {"installation": {"id": 1, "account": ACME}}, ["org/acme"]),
    ("github", {"installation": {"id": 1}, "enterprise": {"slug": "inc"}}, ["enterprise/inc"]),
    ("github", {"installation": {"account": {"slug": "inc"}}, "enterprise": {"slug": "inc"}}, ["enterprise/inc"]),
    ("github", {"zen": "Design for failure.", "sender": EVIL}, []),
    ("github", {"action": "revoked", "sender": ACME}, ["org/acme"]),
    ("github", {"action": "revoked", "sender": ACME, "installation": {"id": 1}}, ["org/acme"]),
    ("github", {"action": "renamed", "account": ACME, "target_type": "User", "installation": {"id": 1}}, ["org/acme"]),
    ("github", {"account": {"slug": "inc"}, "changes": {"slug": {"from": "old"}}}, ["enterprise/inc"]),
    ("github", {"marketplace_purchase": {"account": ACME}, "sender": EVIL}, ["org/acme"]),
    ("github", {"sponsorship": {"sponsorable": ACME, "sponsor": EVIL}, "sender": EVIL}, ["org/acme"]),
    ("github", {"action": "created", "installation": {"account": None}, "sender": EVIL}, []),
    ("github", {"installation": {"account": None}, "enterprise": {"slug": "inc"}, "sender": EVIL}, ["enterprise/inc"]),
    ("github", {"installation": {"account": {"slug": "inc", "login": None}}}, ["enterprise/inc"]),
    ("github", {"installation": {"account": None}, "repositories_added": [REPOSITORY]}, ["repo/acme/app"]),
    (
        "gitea",
        {"repository": REPOSITORY, "organization": {"username": "acme"}},
        ["repo/acme/app", "org/acme", "org/acme"],
    ),
    ("gitlab", {"project": {"path_with_namespace": "acme/web/app"}}, ["project/acme/web/app"]),
    ("gitlab", {"path_with_namespace": "acme/app", "group": {"full_path": "a"}}, ["project/acme/app", "group/a"]),
    ("gitlab", {"repository": {"homepage": "https://gitlab.com/acme/app"}}, ["project/acme/app"]),
    (
        "gitlab",
        {"project": {"path_with_namespace": "a/b"}, "repository": {"homepage": "http://x/y/a/b"}},
        ["project/a/b"],
    ),
    ("gitlab", {"group": {"full_path": "acme/web", "group_path": "web"}}, ["group/acme/web"]),
    ("gitlab", {"group_path": "acme"}, ["group/acme"]),
    ("gitlab", {"full_path": "acme", "event_name": "group_rename"}, ["group/acme"]),
    ("gitlab", {"event_name": "group_create", "path": "acme", "group_id": 78}, ["group/acme"]),
    ("gitlab", {"project_path": "app", "project_path_with_namespace": "acme/web/app"}, ["project/acme/web/app"]),
    ("gitlab", {"object_attributes": {"url": f"{GITLAB}/acme/web/app/-/security/vulnerabilities/1"}}, [ON_APP]),
    ("gitlab", {"project": None, "object_attributes": {"url": f"{GITLAB}/groups/acme/web/-/epics/1"}}, [ON_WEB]),
    ("gitlab", {"object_attributes": {"url": "https://example.com/elsewhere"}}, []),
    ("gitlab", {"event_name": "user_create", "username": "acme"}, []),
    ("stripe", {"account": "acct_1", "type": "invoice.paid"}, ["account/acct_1"]),
    ("stripe", {"context": "acct_1", "object": "v2.core.event"}, ["account/acct_1"]),
    ("stripe", {"context": "acct_1/acct_2", "object": "v2.core.event"}, ["account/acct_2"]),
    ("stripe", {"context": "acct_1/acct_2", "account": "acct_2"}, ["account/acct_2"]),
    ("stripe", {"context": None, "object": "v2.core.event"}, []),
    ("stripe", {"type": "invoice.paid"}, []),
    ("bitbucket", {"repository": {"full_name": "acme/app"}}, ["repo/acme/app"]),
    ("bitbucket", {"repository": {"slug": "app", "project": {"key": "ACME"}}}, ["repo/ACME/app"]),
    (
        "bitbucket",
        {"pullRequest": {"toRef": {"repository": {"slug": "app", "project": {"key": "ACME"}}}}},
        ["repo/ACME/app"],
    ),
]


@pytest.mark.parametrize(("provider", "payload", "expected"), NAMES)
def test_a_payload_names_what_it_is_about(provider: str, payload: dict[str, Any], expected: list[str]) -> None:
    assert names(provider, payload) == expected


NO_OBJECTS: list[Any] = [[], None, "x", 5]
MALFORMED: list[tuple[str, Any]] = [
    *(("github", body) for body in NO_OBJECTS),
    *(("gitlab", body) for body in NO_OBJECTS),
    *(("stripe", body) for body in NO_OBJECTS),
    *(("bitbucket", body) for body in NO_OBJECTS),
    ("github", {"repository": ["acme/app"]}),
    ("github", {"repository": {"id": 1}}),
    ("github", {"organization": {"id": 1}}),
    ("github", {"installation": {"account": "acme"}}),
    ("github", {"installation": {"account": {"id": 1}}}),
    ("github", {"repositories": ["acme/app"]}),
    ("github", {"repositories_added": 5}),
    ("github", {"repositories": [{"id": 1}]}),
    ("github", {"enterprise": {"id": 1}}),
    ("gitlab", {"project": ["acme/app"]}),
    ("gitlab", {"project": {"path_with_namespace": {}, "group_path": []}, "path_with_namespace": 5}),
    ("gitlab", {"repository": {"homepage": 5}}),
    ("stripe", {"account": {"id": "acct_1"}}),
    ("stripe", {"context": "acct_1/"}),
    ("bitbucket", {"repository": {"slug": "app"}}),
    ("bitbucket", {"pullRequest": {"toRef": []}, "repository": "acme/app"}),
]


@pytest.mark.parametrize(("provider", "payload"), MALFORMED)
def test_a_name_of_another_shape_is_a_mistake_that_a_sentence_tells(provider: str, payload: Any) -> None:
    with pytest.raises(ValueError, match=r"(a|the) .* must be a "):
        names(provider, payload)


@pytest.mark.parametrize("path", DELIVERIES, ids=lambda path: path.stem)
def test_what_a_genuine_delivery_of_github_names_has_one_owner(path: Path) -> None:
    payload = json.loads(path.read_bytes())
    assert len({name.path.partition("/")[0].lower() for name in of("github").names(payload)}) <= 1


OWNERS = [
    ("github", "/unsafe/github.com/org/acme", "acme"),
    ("github", "/unsafe/github.com/org/acme/", "acme"),
    ("github", "github.com/org/acme/team", "acme"),
    ("github", "/unsafe/git.acme.example/repo/acme/app", "acme"),
    ("github", "/unsafe/github.com/", None),
    ("github", "/unsafe/github.com/org/", None),
    ("github", "/unsafe/github.com/hooks", None),
    ("github", "/unsafe/github.com/enterprise/inc", None),
    ("github", "", None),
    ("gitlab", "/unsafe/gitlab.com/acme", "acme"),
    ("gitlab", "/unsafe/git.acme.example/acme/web/", "acme/web"),
    ("gitlab", "/unsafe/gitlab.com/group/acme", "acme"),
    ("gitlab", "/unsafe/gitlab.com/project/acme/web/app", "acme/web/app"),
    ("gitlab", "gitlab/acme", "acme"),
    ("gitlab", "/unsafe/gitlab.com/", None),
    ("gitlab", "/unsafe/hooks/builds", None),
    ("stripe", "/unsafe/stripe/acct_1", "acct_1"),
    ("stripe", "/unsafe/stripe/", None),
    ("bitbucket", "/unsafe/bitbucket/acme", None),
    ("bitbucket", "/unsafe/bitbucket.org/", None),
    ("bitbucket", "/unsafe/bitbucket.org/acme", "acme"),
    ("bitbucket", "/unsafe/bitbucket.org/repo/acme/app", "acme"),
]


@pytest.mark.parametrize(("provider", "topic", "owner"), OWNERS)
def test_a_topic_may_name_an_owner(provider: str, topic: str, owner: str | None) -> None:
    assert of(provider).owner_in(topic) == owner


BELONGS = [
    ("acme", "acme"),
    ("ACME/app", "acme"),
    ("acme/web/app", "Acme/Web"),
]
DOES_NOT = [
    ("acmee", "acme"),
    ("acme", "acme/web"),
    ("acme.", "acme"),
    ("acme/", "acme"),
    ("acme/x/../../evil", "acme"),
    ("acme/./x", "acme"),
    ("acme//x", "acme"),
    ("/acme", "acme"),
    (" acme", "acme"),
    ("acme\0", "acme"),
    ("acme/\udc00", "acme"),
    ("acme%2fx", "acme"),
    # Letters that only str.casefold, str.lower or a normalisation would take for those of another name.
    ("stra\u00dfe", "strasse"),
    ("\u212alein", "klein"),
    ("e\u0301vil", "\u00e9vil"),
    ("acme" * 300, "acme" * 300),
]


@pytest.mark.parametrize(("path", "owner"), BELONGS)
def test_what_is_an_owners_own_or_beneath_it_belongs_to_it(path: str, owner: str) -> None:
    assert belongs(path, owner)


@pytest.mark.parametrize(("path", "owner"), DOES_NOT)
def test_nothing_else_belongs_to_it(path: str, owner: str) -> None:
    assert not belongs(path, owner)


@pytest.mark.parametrize("owner", ["", "/", "acme/", "a//b", "a/../b", "a\n", "@acme"])
def test_an_owner_of_nothing_is_a_mistake(owner: str) -> None:
    with pytest.raises(ConfigError, match="an owner is like"):
        check_owner(owner)
    assert check_owner("acme/team") == "acme/team"


def check(payload: Any, provider: str = "github", owner: str = "acme", form: bool = False) -> None:
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    if form:
        body = b"payload=" + quote_plus(body).encode()
    of(provider).check(SignedRequest(body, FORM if form else ()), [owner])


OWN: list[tuple[str, Any]] = [
    ("github", {"repository": {"full_name": "ACME/app"}, "organization": {"login": "Acme"}, "sender": EVIL}),
    ("github", {"repository": REPOSITORY, "enterprise": {"slug": "inc"}}),
    ("github", {"repository": REPOSITORY, "forkee": {"full_name": "evil/app"}}),
    ("github", {"zen": "Half measures are as bad as nothing at all."}),
    ("github", b"no JSON"),
    ("github", b""),
    ("github", [1]),
    ("gitlab", {"project": {"path_with_namespace": "acme/web/app"}}),
    ("stripe", {"type": "invoice.paid"}),
]
FOREIGN: list[tuple[str, Any]] = [
    ("github", {"repository": {"full_name": "evil/app"}}),
    ("github", {"repository": REPOSITORY, "organization": EVIL}),
    ("github", {"repository": {"full_name": "evil/app"}, "organization": ACME}),
    ("github", {"repository": {"full_name": "acme/app", "owner": EVIL}}),
    ("github", {"repository": REPOSITORY, "installation": {"account": EVIL}}),
    ("github", {"repositories": [REPOSITORY, {"full_name": "evil/app"}], "installation": {"account": ACME}}),
    ("github", {"repositories_added": [{"full_name": "evil/app"}], "installation": {"account": ACME}}),
    ("github", {"repository": {"full_name": "acme/../evil/app"}}),
    ("github", {"repository": {"full_name": ["acme/app"]}}),
    ("github", {"repository": "acme/app"}),
    ("github", {"installation": "acme"}),
    ("github", {"repository": {"id": 1}}),
    ("github", {"enterprise": {"slug": "acme-inc"}}),
    ("github", {"enterprise": {"slug": "acme"}}),
    ("github", {"installation": {"account": {"slug": "acme"}}}),
    ("gitlab", {"project": {"path_with_namespace": "evil/app"}}),
    ("gitlab", {"project": {"path_with_namespace": "acme/app"}, "path_with_namespace": "evil/app"}),
    ("gitlab", {"project": {"path_with_namespace": "acme/app"}, "group": {"full_path": "evil"}}),
    ("gitlab", {"repository": {"homepage": "https://gitlab.com/evil/app"}}),
    ("gitlab", {"repository": {"homepage": "https://[gitlab.com/acme/app"}}),
    ("gitlab", {"group_path": "web"}),
    ("stripe", {"account": "acct_1"}),
    (
        "bitbucket",
        {"repository": {"full_name": "acme/a"}, "pullRequest": {"toRef": {"repository": {"full_name": "x/y"}}}},
    ),
]


@pytest.mark.parametrize("form", [False, True], ids=["json", "form"])
@pytest.mark.parametrize(("provider", "payload"), OWN)
def test_what_names_nobody_else_passes(provider: str, payload: Any, form: bool) -> None:
    check(payload, provider, form=form)


@pytest.mark.parametrize("form", [False, True], ids=["json", "form"])
@pytest.mark.parametrize(("provider", "payload"), FOREIGN)
def test_what_names_another_owner_is_refused(provider: str, payload: Any, form: bool) -> None:
    with pytest.raises(Forbidden):
        check(payload, provider, form=form)


def test_an_enterprise_is_nobody_elses_account_of_the_same_name() -> None:
    enterprise, organization = {"enterprise": {"slug": "Acme"}}, {"organization": {"login": "acme"}}
    check(enterprise, owner="enterprises/acme")
    with pytest.raises(Forbidden, match="'enterprises/Acme', which does not belong to acme"):
        check(enterprise)
    with pytest.raises(Forbidden, match="'acme', which does not belong to enterprises/acme"):
        check(organization, owner="enterprises/acme")


def test_every_reading_that_a_router_might_make_of_a_body_is_checked() -> None:
    foreign = json.dumps({"repository": {"full_name": "evil/app"}})
    bodies = [
        SignedRequest(foreign.encode(), FORM),
        SignedRequest(foreign.encode("utf-16")),
        SignedRequest(b"\xef\xbb\xbf" + foreign.encode()),
        SignedRequest(b"payload=1&payload=" + quote_plus(foreign).encode(), FORM),
        SignedRequest(b"payload=" + quote_plus(foreign).encode() + b"&payload=1", FORM),
        SignedRequest(b"x=1&payload=" + quote_plus(foreign).encode(), FORM),
        SignedRequest(
            b'--b\r\nContent-Disposition: form-data; name="repository"\r\n\r\n{"full_name": "evil/app"}\r\n--b--\r\n',
            (("Content-Type", "multipart/form-data; boundary=b"),),
        ),
        SignedRequest(b"account=acct_1", FORM),
    ]
    for request in bodies[:-1]:
        with pytest.raises(Forbidden, match="evil/app"):
            of("github").check(request, ["acme"])
    with pytest.raises(Forbidden, match="acct_1"):
        of("stripe").check(bodies[-1], ["acme"])


def test_a_large_delivery_is_checked() -> None:
    commits = [{"id": "0" * 40, "added": ["a"] * 10} for _ in range(2048)]
    check({"repository": REPOSITORY, "commits": commits, "padding": "x" * (3 << 20)})


def test_a_refusal_names_what_does_not_belong_and_the_owners() -> None:
    with pytest.raises(Forbidden, match=r"the body names 'evil/app', which does not belong to acme$"):
        check({"repository": {"full_name": "evil/app"}})
