import json
from dataclasses import replace
from typing import Any

import pytest
from hookbot_gitlab import GitLabRouter

from hookbot import Verified
from hookbot.testing import make_message, open_test_hub, route, routed, signed_delivery

PROJECT = {"path_with_namespace": "acme/web/app"}
ON_PROJECT = ["gitlab.com/project/acme/web/app"]


def topics(published: list[tuple[str, bytes]]) -> list[str]:
    return [topic for topic, _ in published]


async def route_json(
    payload: object, topic: str = "/unsafe/gitlab.com/acme", verified: str | None = "gitlab", **options: Any
) -> list[tuple[str, bytes]]:
    return await route(GitLabRouter(**options), topic, json.dumps(payload).encode(), verified=verified)


async def test_a_push_goes_to_its_project_and_its_branch() -> None:
    delivery = signed_delivery("gitlab", "s3cret")

    published = await route(GitLabRouter(), "/unsafe/gitlab.com/acme", *delivery, verified="gitlab")

    assert published == [
        ("gitlab.com/project/acme/web/app/branch/main", delivery.body),
        ("gitlab.com/project/acme/web/app", delivery.body),
    ]


@pytest.mark.parametrize("place", ["object_kind", "event_name"])
async def test_a_push_of_a_system_hook_goes_to_its_branch_too(place: str) -> None:
    published = await route_json({place: "push", "ref": "refs/heads/main", "project": PROJECT})
    assert topics(published) == ["gitlab.com/project/acme/web/app/branch/main", *ON_PROJECT]


@pytest.mark.parametrize("place", ["object_kind", "event_name"])
async def test_a_tag_keeps_its_prefix(place: str) -> None:
    published = await route_json({place: "tag_push", "ref": "refs/tags/v1", "project": PROJECT})
    assert topics(published) == ["gitlab.com/project/acme/web/app/branch/refs/tags/v1", *ON_PROJECT]


OTHERS: list[tuple[dict[str, Any], list[str]]] = [
    ({"object_kind": "merge_request", "project": PROJECT}, ON_PROJECT),
    ({"object_kind": "build", "repository": {"homepage": "https://gitlab.com/acme/web/app"}}, ON_PROJECT),
    ({"event_name": "project_create", "path_with_namespace": "acme/web/app"}, ON_PROJECT),
    ({"event_name": "subgroup_create", "full_path": "acme/web"}, ["gitlab.com/group/acme/web"]),
    ({"event_name": "user_add_to_group", "group_path": "acme"}, ["gitlab.com/group/acme"]),
    ({"object_kind": "access_token", "group": {"full_path": "acme/web"}}, ["gitlab.com/group/acme/web"]),
    ({"event_name": "user_add_to_team", "project_path_with_namespace": "acme/web/app"}, ON_PROJECT),
    ({"event_name": "project_rename", "path_with_namespace": "acme/web/app", "path": "app"}, ON_PROJECT),
    ({"event_name": "repository_update", "project": PROJECT, "refs": ["refs/heads/main"]}, ON_PROJECT),
    ({"event_name": "group_destroy", "path": "acme", "group_id": 78}, ["gitlab.com/group/acme"]),
    ({"event_name": "user_create", "username": "ann"}, ["gitlab.com/event/user_create"]),
    ({"event_name": "key_create", "username": "ann", "key": "ssh-rsa"}, ["gitlab.com/event/key_create"]),
    ({"object_kind": "something_new"}, ["gitlab.com/event/something_new"]),
    ({"object_kind": "push", "project": PROJECT, "ref": None}, ON_PROJECT),
    ({"event_name": "push", "ref": "refs/heads/main"}, ["gitlab.com/event/push"]),
]


@pytest.mark.parametrize(("payload", "expected"), OTHERS)
async def test_any_event_goes_where_it_belongs(payload: dict[str, Any], expected: list[str]) -> None:
    assert topics(await route_json(payload)) == expected


UNKNOWN: list[Any] = [
    [],
    None,
    5,
    {},
    {"event_name": ["push"]},
    {"project": {}},
    {"project": [""]},
    {"project": {"path_with_namespace": 5}},
]


@pytest.mark.parametrize("payload", UNKNOWN)
async def test_a_delivery_of_no_known_shape_is_an_error_in_a_sentence(payload: object) -> None:
    with pytest.raises(ValueError, match=r"must be a |names no project, no group and no event"):
        await route_json(payload)


async def test_an_instance_of_ones_own_has_topics_of_its_own() -> None:
    published = await route_json(
        {"object_kind": "issue", "project": PROJECT}, topic="/unsafe/git.acme.example/x", host="git.acme.example"
    )
    assert topics(published) == ["git.acme.example/project/acme/web/app"]


@pytest.mark.parametrize("verified", [None, "github"])
async def test_what_nobody_has_verified_as_gitlabs_is_dropped_with_a_warning(
    verified: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    assert await route_json({"project": PROJECT}, verified=verified) == []
    assert "not verified as GitLab's" in caplog.text


@pytest.mark.parametrize("source", [None, "/unsafe/elsewhere/"])
async def test_what_another_source_or_an_older_hub_has_verified_is_dropped_if_it_names_another_group(
    source: str | None,
) -> None:
    body = json.dumps({"project": PROJECT}).encode()
    message = make_message("/unsafe/gitlab.com/evil", body)
    verified = replace(message, verified=Verified("gitlab", "0", source=source))
    assert await routed(GitLabRouter(), verified) == []


async def test_what_came_with_a_token_of_the_hub_needs_no_signature() -> None:
    assert topics(await route_json({"project": PROJECT}, topic="gitlab/acme", verified=None)) == ON_PROJECT


async def test_deliveries_are_passed_on_whole() -> None:
    message = make_message("gitlab/acme", *signed_delivery("gitlab", "s3cret"))
    [_, copy] = await routed(GitLabRouter(), message)
    assert (copy.body, copy.headers) == (message.body, message.headers)


async def test_it_runs_in_a_hub() -> None:
    async with open_test_hub(GitLabRouter()) as hub:
        await hub.publish("gitlab/acme", *signed_delivery("gitlab", "s3cret"))
        [message] = await hub.wait_for("gitlab.com/project/acme/web/app")
    assert message.hops == ("gitlab",)
