"""The OpenAPI document: a running hub answers as it says, whatever it is asked."""

import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import ignored_auth, negative_data_rejection, positive_data_acceptance

from hookbot.hub.secret_store import StoredSecret
from hookbot.protocol.failures import Failure
from hookbot.protocol.message import Verified
from hookbot.web.api.live import MAX_DRAWN
from support import SECRET
from support.api import bearer, open_api, publish
from support.hubs import ThreadHub, WholeHub

DOCUMENT = "/hookbot/v1/openapi.json"
LIVE = "/hookbot/v1/live"
TEXT = f"""
[[sources]]
topic = "/unsafe/acme/"
provider = "github"
secrets = ["{SECRET}"]
"""
GITHUB = StoredSecret(SECRET)
PNG = b"\x89PNG\r\n\x1a\n" + bytes(10)

TOPICS = st.sampled_from(["acme/", "acme/x", "/unsafe/acme/", "/unsafe/acme/app", "hookbot/failed/", "acme?recursive"])
NAMES = st.from_regex(r"[a-zü.]{0,3}[a-zü](/[a-z ]{1,8}){0,2}/?", fullmatch=True)
FORMATS = {
    "topic": TOPICS | NAMES,
    "subscription-path": st.sampled_from(["/sub/acme/", "/unsafe/sub/acme/", "/x"]) | NAMES.map("/sub/{}".format),
    "token-path": st.sampled_from(["/sub/acme/", "/unsafe/pub/acme/app"]) | NAMES.map("/pub/{}".format),
    "since": st.sampled_from(["all", "now", "7d", "2026-01-02T03:04:05Z"]),
    "jmespath": st.sampled_from(["body.a", "headers", "contains(topic, 'acme')", "body.a == `1` && !verified"]),
}
for name, strategy in FORMATS.items():
    schemathesis.openapi.format(name, strategy)


@asynccontextmanager
async def filled(tmp_path: Path) -> AsyncIterator[WholeHub]:
    """A hub with some of everything that the API shows."""
    async with open_api(tmp_path, text=TEXT, routers=("github",), github_secrets=(GITHUB,)) as hub:
        about = Failure("github", "other", "acme/x", "it is too large")
        verified = Verified("github", "1a2b3c4d", 1.0, "/unsafe/acme/")
        first = await publish(hub, "acme/x", {"a": 1}, headers=(("Content-Type", "application/json"),), query="b=1")
        await publish(hub, "acme/x", PNG, verified=verified, hops=("github",), routed_from=first.id)
        await publish(hub, "acme/x", b"\xff", replay_of=first.id)
        await publish(hub, "hookbot/failed/github", {}, headers=about.headers)
        await hub.deliver("github", "/unsafe/pub/acme/app")
        await hub.deliver("github", "/unsafe/pub/acme/app")
        await hub.deliver("github", "/unsafe/pub/acme/app", secret="another")
        await hub.http.get("/sub/acme/x", headers={"Authorization": "Bearer wrong"})
        async with (
            hub.listen("/sub/acme/x?cursor=deploy", "v1"),
            hub.listen("/sub/acme/", "sse"),
            hub.listen("/sub/acme/x?group=workers", "v1"),
        ):
            yield hub


@contextmanager
def opened(tmp_path: Path) -> Iterator[ThreadHub]:
    with ThreadHub(filled(tmp_path)) as thread:
        yield thread


def exact(schema: Any) -> Any:
    """A schema by which an object has no field that is not described."""
    if isinstance(schema, list):
        return list(map(exact, schema))
    if not isinstance(schema, dict):
        return schema
    closed = {"additionalProperties": False} if "properties" in schema and schema.get("title") else {}
    return {name: exact(value) for name, value in schema.items()} | closed


def check_lines(document: Mapping[str, Any], path: str, method: str, lines: list[str]) -> None:
    """Check JSON lines, which schemathesis does not read."""
    content = document["paths"][path][method]["responses"]["200"]["content"]
    schema = {**content["application/x-ndjson"]["schema"], "components": document["components"]}
    validator = jsonschema_rs.validator_for(schema)
    for line in lines:
        validator.validate(json.loads(line))


def may_be_accepted(parameters: Sequence[Mapping[str, Any]], query: Mapping[str, Any]) -> bool:
    """True if the text of a query may be what the document describes: formats are only known to the hub."""
    for parameter in parameters:
        schema, name = parameter["schema"], parameter["name"]
        if parameter["in"] == "query" and name in query:
            text = str(query[name])
            value = int(text) if schema.get("type") == "integer" and text.lstrip("-").isdecimal() else text
            if not jsonschema_rs.is_valid(schema, value):
                return False
        elif parameter["in"] == "query" and parameter.get("required"):
            return False
    return query.keys() <= {parameter["name"] for parameter in parameters}


@pytest.mark.parametrize("path", ["/hookbot/v1/", "/sub/acme/"])
@pytest.mark.parametrize("mode", GenerationMode)
def test_the_hub_answers_as_the_document_says(tmp_path: Path, path: str, mode: GenerationMode) -> None:
    headers = bearer(path)
    with opened(tmp_path) as thread, httpx.Client(base_url=thread.hub.running.url, headers=headers) as client:
        document = exact(client.get(DOCUMENT).json())
        ids = [message.id for message in thread.call(thread.hub.stored)]
        schema = schemathesis.openapi.from_dict(document)
        schema.config.update(base_url=thread.hub.running.url)
        schema.validate()
        for result in schema.get_all_operations():
            assert isinstance(result, Ok)
            operation = result.ok()
            if operation.path == LIVE:
                continue

            @settings(max_examples=10, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
            @given(case=operation.as_strategy(generation_mode=mode), id=st.sampled_from([None, *ids]))
            def answers(case: Any, id: str | None) -> None:
                if mode is GenerationMode.POSITIVE and id and "id" in case.path_parameters:
                    case.path_parameters["id"] = id
                answer = case.call(headers=headers)
                refused_together = [] if case.method == "GET" else [positive_data_acceptance]
                described = document["paths"][case.operation.path][case.method.lower()].get("parameters", [])
                accepted = [negative_data_rejection] if may_be_accepted(described, case.query) else []
                case.validate_response(answer, excluded_checks=[ignored_auth, *refused_together, *accepted])
                if answer.headers["content-type"] == ["application/x-ndjson"]:
                    check_lines(document, case.operation.path, case.method.lower(), answer.text.splitlines())

            answers()


async def test_each_line_of_the_live_view_is_as_the_document_says(tmp_path: Path) -> None:
    async with filled(tmp_path) as hub, hub.http.stream("GET", LIVE) as answer:
        document = exact((await hub.http.get(DOCUMENT)).json())
        lines = answer.aiter_lines()
        shown = [await anext(lines)]
        for n in range(MAX_DRAWN + 1):
            await publish(hub, "acme/x", n)
        await hub.http.get("/sub/acme/x", headers={"Authorization": "Bearer wrong"})
        while {json.loads(line)["type"] for line in shown} < {"hello", "message", "refusal", "left_out"}:
            shown.append(await anext(lines))

    check_lines(document, LIVE, "get", shown)
