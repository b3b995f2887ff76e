"""Who may do what: each operation of the API with each kind of token, and what a token is told of its neighbours."""

import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest

from hookbot.access.narrowed_tokens import NarrowedToken
from hookbot.access.tokens import make_token
from hookbot.alerts.marks import MARK, Mark
from hookbot.alerts.subjects import Subject
from hookbot.hub.secret_store import StoredSecret
from hookbot.protocol.failures import Failure
from hookbot.web.api.live import MAX_DRAWN
from support import SECRET
from support.alerts import until_watched
from support.api import BY_PAGE, narrowed, open_api, publish
from support.hubs import WholeHub

Headers = Callable[[str], dict[str, str]]
API = "/hookbot/v1/"
NEIGHBOUR = "kepler"
SOURCES = "".join(
    f"""
[[sources]]
topic = "/unsafe/{name}/"
provider = "github"
secrets = ["{SECRET}"]
expect_every = "1d"
"""
    for name in ("acme", NEIGHBOUR)
)

REQUESTS = {
    "GET session": "session",
    "GET openapi.json": "openapi.json",
    "POST tokens": "tokens?path=/sub/{name}/x",
    "GET messages": "messages",
    "GET messages/{id}": "messages/{id}",
    "GET messages/{id}/body": "messages/{id}/body",
    "GET messages/{id}/related": "messages/{id}/related",
    "GET live": "live",
    "POST messages/{id}/redeliver": "messages/{id}/redeliver",
    "POST redeliver": "redeliver?topic={name}/x",
    "POST messages/{id}/retry": "messages/{id}/retry",
    "POST retry": "retry?topic={name}/x",
    "DELETE messages/{id}": "messages/{id}?count=only",
    "DELETE messages": "messages?topic={name}/x&count=only",
    "GET cursors": "cursors",
    "POST cursors": "cursors?path=/sub/{name}/x&name={name}-cursor&since=all",
    "DELETE cursors": "cursors?path=/sub/{name}/x&name={name}-cursor",
    "GET subscriptions": "subscriptions",
    "DELETE subscriptions/{id}": "subscriptions/{subscription}",
    "GET refusals": "refusals",
    "GET quotas": "quotas",
    "GET budgets": "budgets",
    "GET sources": "sources",
    "GET topics": "topics",
    "GET sources/events": "sources/events",
    "GET alerts": "alerts",
    "POST sources/test": "sources/test?topic=/unsafe/{name}/",
    "GET stats": "stats",
    "GET routers": "routers",
    "GET hubs": "hubs",
}
"""Each operation, and how it is asked for what belongs to a name."""

OWN = """
                                  /   /hookbot/v1/  /acme/  /sub/  /sub/acme/  /sub/acme/x  /unsafe/sub/acme/
    GET session                   200          200     200    200         200          200                200
    GET openapi.json              200          200     200    200         200          200                200
    POST tokens                   200          403     200    200         200          200                403
    GET messages                  200          200     200    200         200          200                200
    GET messages/{id}             200          200     200    200         200          200                404
    GET messages/{id}/body        200          200     200    200         200          200                404
    GET messages/{id}/related     200          200     200    200         200          200                404
    GET live                      200          200     200    200         200          200                200
    POST messages/{id}/redeliver  200          403     200    403         403          403                404
    POST redeliver                200          403     200    403         403          403                403
    POST messages/{id}/retry      400          400     400    400         400          400                404
    POST retry                    200          403     200    403         403          403                403
    DELETE messages/{id}          200          200     200    403         403          403                404
    DELETE messages               200          200     200    403         403          403                403
    GET cursors                   200          200     200    200         200          200                200
    POST cursors                  200          200     200    403         403          403                403
    DELETE cursors                200          200     200    403         403          403                403
    GET subscriptions             200          200     200    200         200          200                200
    DELETE subscriptions/{id}     200          200     200    403         403          403                404
    GET refusals                  200          200     200    200         200          200                200
    GET quotas                    200          200     200    200         200          200                200
    GET budgets                   200          200     200    200         200          200                200
    GET sources                   200          200     200    200         200          200                200
    GET topics                    200          200     200    200         200          200                200
    GET sources/events            200          200     200    200         200          200                200
    GET alerts                    200          200     200    200         200          200                200
    POST sources/test             200          200     404    404         404          404                403
    GET stats                     200          200     403    403         403          403                403
    GET routers                   200          200     403    403         403          403                403
    GET hubs                      200          200     403    403         403          403                403
"""
_HEAD, *_ROWS = [re.split(r"  +", line.strip()) for line in OWN.strip().splitlines()]
TABLE = {row[0]: dict(zip(_HEAD, map(int, row[1:]), strict=True)) for row in _ROWS}
"""Status of each operation on what belongs to `acme`, by the path of the token."""
NAMING = [one for one in TABLE if "{" in REQUESTS[one]]
# The live view never ends, and is itself a subscription.
SHOWING = [one for one in TABLE if one != "GET live"]

TOKENS = {path: narrowed(path) for path in _HEAD}
PREFIXES = [path for path in _HEAD if "acme" in path]
POWERLESS = {
    "live": (narrowed("/sub/acme/", live="1"), 403),
    "since": (narrowed("/sub/acme/", since="1"), 403),
    "cursor": (narrowed("/sub/acme/", cursor="acme-cursor"), 403),
    "live operator": (narrowed("/", live="1"), 403),
    "publisher": (narrowed("/pub/acme/"), 401),
    "only publishes": (narrowed("/acme/", only="pub"), 401),
    "expired": (narrowed("/", expires="1"), 401),
    "revoked": (narrowed("/", name="left"), 401),
    "two paths": (str(NarrowedToken.parse(narrowed("/sub/acme/")).narrow("path", "/sub/other/")), 401),
    "another key": (make_token("another key", "/"), 401),
    "metrics": (narrowed("/metrics"), 401),
    "no token": ("no-token", 401),
    "none": ("", 401),
}


@asynccontextmanager
async def filled(tmp_path: Path, *names: str) -> AsyncIterator[WholeHub]:
    """A hub in which each of these names has some of everything that the API shows; `acme` comes last."""
    options = {"routers": ("github",), "github_secrets": (StoredSecret(SECRET),), "revoked": ("left",)}
    async with open_api(tmp_path, text=SOURCES, **options) as hub, AsyncExitStack() as stack:
        await until_watched(hub.running.broker)
        for name in names:
            failure = Failure("github", f"{name}-id", f"{name}/x", f"{name} is too large")
            await hub.http.get(f"/sub/{name}/x?cursor={name}-cursor", headers={"Authorization": "Bearer no-token"})
            await hub.deliver("github", f"/unsafe/pub/{name}/app", f'"{name}"'.encode())
            await hub.deliver("github", f"/unsafe/pub/{name}/app", f'"{name}"'.encode(), secret="another")
            for subject in (Subject("source", f"/unsafe/{name}/"), Subject("cursor", name, f"/sub/{name}/")):
                mark = Mark(1, subject.firing(1, f"{subject} is silent"))
                await hub.running.broker.commit([], cursors={MARK + subject.key: mark.noted})
            await publish(hub, "hookbot/failed/github", name, headers=failure.headers)
            await publish(hub, "/unsafe/hookbot/failed/github", name, headers=failure.headers)
            first = await publish(hub, f"{name}/x", name, headers=(("X-Name", name),), query=name)
            await publish(hub, f"{name}/x", name, routed_from=first.id)
            token = narrowed(f"/sub/{name}/", name=f"{name}-ann")
            for query in (f"cursor={name}-cursor", f"group={name}-group"):
                await stack.enter_async_context(hub.listen(f"/sub/{name}/x?{query}", "v1", token=token))
        yield hub


async def placed(hub: WholeHub, name: str) -> dict[str, str]:
    """What a request for what belongs to a name says."""
    ids = [message.id for message in await hub.stored() if message.topic == f"{name}/x"]
    listed = (await hub.http.get(f"{API}subscriptions", params={"path": f"/sub/{name}/"})).json()["subscriptions"]
    return {"name": name, "id": ids[0], "subscription": next(one["id"] for one in listed if "cursor" in one)}


async def answer(
    hub: WholeHub, operation: str, places: Mapping[str, str], headers: Mapping[str, str]
) -> httpx.Response:
    """The response; of the live view, only its beginning."""
    url = API + REQUESTS[operation].format_map(places)
    request = hub.http.build_request(operation.partition(" ")[0], url)
    del request.headers["Authorization"]
    request.headers.update(headers)
    response = await hub.http.send(request, stream=True)
    if operation == "GET live" and response.status_code == 200:
        await response.aclose()
    else:
        await response.aread()
    return response


def by_token(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


def by_page(token: str) -> dict[str, str]:
    return {"Cookie": f"hookbot={token}", **BY_PAGE}


async def test_the_table_has_each_operation(tmp_path: Path) -> None:
    async with open_api(tmp_path) as hub:
        paths = (await hub.http.get(f"{API}openapi.json")).json()["paths"]

    operations = {f"{method.upper()} {path.removeprefix(API)}" for path in paths for method in paths[path]}
    assert operations == TABLE.keys() == REQUESTS.keys()


@pytest.mark.parametrize("path", TOKENS)
@pytest.mark.parametrize("headers", [by_token, by_page])
async def test_a_token_may_do_what_the_table_says(tmp_path: Path, path: str, headers: Headers) -> None:
    async with filled(tmp_path, "acme") as hub:
        places = await placed(hub, "acme")
        statuses = {one: (await answer(hub, one, places, headers(TOKENS[path]))).status_code for one in TABLE}

    assert statuses == {one: TABLE[one][path] for one in TABLE}


@pytest.mark.parametrize("others", ["", narrowed("/sub/other/"), POWERLESS["expired"][0], POWERLESS["another key"][0]])
async def test_a_session_may_do_what_its_tokens_may_together(tmp_path: Path, others: str) -> None:
    cookie = ".".join((others, TOKENS["/sub/acme/"], narrowed("/pub/acme/")))
    async with filled(tmp_path, "acme") as hub:
        places = await placed(hub, "acme")
        statuses = {one: (await answer(hub, one, places, by_page(cookie))).status_code for one in TABLE}

    assert statuses == {one: TABLE[one]["/acme/"] for one in TABLE}


@pytest.mark.parametrize("kind", POWERLESS)
@pytest.mark.parametrize("headers", [by_token, by_page])
async def test_a_token_without_a_scope_may_do_nothing(tmp_path: Path, kind: str, headers: Headers) -> None:
    token, status = POWERLESS[kind]
    async with filled(tmp_path, "acme") as hub:
        places, stored = await placed(hub, "acme"), await hub.stored()
        statuses = {(await answer(hub, one, places, headers(token))).status_code for one in TABLE}

        assert (statuses, await hub.stored()) == ({status}, stored)


async def test_an_operators_token_for_one_path_opens_no_other(tmp_path: Path) -> None:
    async with filled(tmp_path, "acme") as hub:
        places = await placed(hub, "acme")
        headers = by_token(narrowed(f"{API}cursors"))
        opened = {one for one in TABLE if (await answer(hub, one, places, headers)).status_code == 200}

    assert opened == {"GET cursors", "POST cursors", "DELETE cursors"}


@pytest.mark.parametrize("path", TOKENS)
async def test_a_change_with_a_session_needs_the_proof(tmp_path: Path, path: str) -> None:
    async with filled(tmp_path, "acme") as hub:
        places, stored = await placed(hub, "acme"), await hub.stored()
        headers = {"Cookie": f"hookbot={TOKENS[path]}"}
        answers = {one: await answer(hub, one, places, headers) for one in TABLE if not one.startswith("GET")}

        assert {one.status_code for one in answers.values()} == {403}
        assert await hub.stored() == stored


@pytest.mark.parametrize("path", PREFIXES)
@pytest.mark.parametrize("headers", [by_token, by_page])
async def test_a_token_for_a_prefix_is_told_nothing_of_its_neighbours(
    tmp_path: Path, path: str, headers: Headers
) -> None:
    async with filled(tmp_path, NEIGHBOUR, "acme") as hub:
        places = await placed(hub, "acme")
        theirs = [message.id for message in await hub.stored() if NEIGHBOUR.encode() in message.body]
        answers = [await shown(hub, one, places, headers(TOKENS[path])) for one in SHOWING]
    async with filled(tmp_path, "acme") as alone:
        places_alone = await placed(alone, "acme")
        answers_alone = [await shown(alone, one, places_alone, headers(TOKENS[path])) for one in SHOWING]

    assert len(theirs) == 5
    for text in answers:
        assert not [secret for secret in (NEIGHBOUR, *theirs) if secret in text]
    for text, alone_text in zip(answers, answers_alone, strict=True):
        assert told(text, places) == told(alone_text, places_alone)


@pytest.mark.parametrize("path", PREFIXES)
async def test_a_neighbour_is_as_if_it_did_not_exist(tmp_path: Path, path: str) -> None:
    async with filled(tmp_path, NEIGHBOUR, "acme") as hub:
        theirs = await placed(hub, NEIGHBOUR)
        nobodys = {"name": "newton", "id": f"{theirs['id'][:9]}{10**14}", "subscription": "x1"}
        of_nobodys = {one: await shown(hub, one, nobodys, by_token(TOKENS[path])) for one in NAMING}
        for id in [message.id for message in await hub.stored() if NEIGHBOUR.encode() in message.body]:
            places = theirs | {"id": id}
            for one in NAMING:
                text = await shown(hub, one, places, by_token(TOKENS[path]))
                assert told(text, places) == told(of_nobodys[one], nobodys)


def told(text: str, places: Mapping[str, str]) -> str:
    """What an answer about these places tells, whatever they are called."""
    for name, value in places.items():
        text = text.replace(value, name)
    return without_positions(text)


async def shown(hub: WholeHub, operation: str, places: Mapping[str, str], headers: Mapping[str, str]) -> str:
    """Status, fields and content of a response."""
    response = await answer(hub, operation, places, headers)
    return f"{operation}: {response.status_code} {response.headers} {response.text}"


def without_positions(text: str) -> str:
    """An answer without what differs from hub to hub, and without positions, which are those of all topics."""
    for pattern in (
        r"[a-z]{8}-[0-9]{15}",
        r'"epoch":"[a-z]{8}"',
        r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z",
        r"'(date|content-length)': '[^']*'",
        r'"(lag|number|first|used_us|behind_s)":[0-9.]+',
        r'"id":"[^"]*"',
        r"127\.0\.0\.1:[0-9]+",
    ):
        text = re.sub(pattern, "", text)
    return text


@pytest.mark.parametrize("path", ["/sub/acme/", "/acme/"])
async def test_the_live_view_of_a_prefix_neither_shows_nor_counts_its_neighbours(tmp_path: Path, path: str) -> None:
    async with (
        open_api(tmp_path, text=SOURCES) as hub,
        hub.http.stream("GET", f"{API}live", headers=by_token(TOKENS[path])) as response,
    ):
        lines = response.aiter_lines()
        seen = await anext(lines)
        failure = Failure("github", f"{NEIGHBOUR}-id", f"{NEIGHBOUR}/x", "too large")
        for n in range(MAX_DRAWN * 2):
            await publish(hub, f"{NEIGHBOUR}/{n}")
        await publish(hub, "hookbot/failed/github", NEIGHBOUR, headers=failure.headers)
        await hub.http.get(f"/sub/{NEIGHBOUR}/x", headers=by_token("no-token"))
        await publish(hub, "acme/last")
        while "acme/last" not in seen:
            seen += await anext(lines)

    assert NEIGHBOUR not in seen
    assert "left_out" not in seen
