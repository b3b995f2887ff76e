"""The OpenAPI document."""

from pathlib import Path

from support.api import open_api


async def test_the_document_describes_itself_and_each_change(tmp_path: Path) -> None:
    async with open_api(tmp_path) as hub:
        document = (await hub.http.get("/hookbot/v1/openapi.json")).json()

    assert document["openapi"] == "3.1.0"
    assert "get" in document["paths"]["/hookbot/v1/openapi.json"]
    assert set(document["paths"]["/hookbot/v1/cursors"]) == {"get", "post", "delete"}
    id, *_ = document["paths"]["/hookbot/v1/messages/{id}"]["get"]["parameters"]
    assert (id["in"], id["required"]) == ("path", True)
    operations = [operation for methods in document["paths"].values() for operation in methods.values()]
    assert all(operation["summary"] for operation in operations)
    assert len({operation["operationId"] for operation in operations}) == len(operations)
    assert document["paths"]["/hookbot/v1/messages/{id}/body"]["get"]["operationId"] == "getMessagesIdBody"


async def test_an_operation_lists_the_statuses_that_it_answers(tmp_path: Path) -> None:
    async with open_api(tmp_path) as hub:
        paths = (await hub.http.get("/hookbot/v1/openapi.json")).json()["paths"]

    assert set(paths["/hookbot/v1/stats"]["get"]["responses"]) == {"200", "400", "401", "403", "429", "503"}
    assert {"404", "413"} <= set(paths["/hookbot/v1/tokens"]["post"]["responses"])


async def test_an_operation_may_answer_an_object_lines_or_bytes(tmp_path: Path) -> None:
    async with open_api(tmp_path) as hub:
        paths = (await hub.http.get("/hookbot/v1/openapi.json")).json()["paths"]

    answers = paths["/hookbot/v1/redeliver"]["post"]["responses"]["200"]
    assert set(answers["content"]) == {"application/json", "application/x-ndjson"}
    assert "of JSON lines, the schema is that of each line" in answers["description"]
    body = paths["/hookbot/v1/messages/{id}/body"]["get"]["responses"]["200"]["content"]
    assert body["application/octet-stream"] == body["image/png"] == {}


async def test_a_header_is_a_parameter_and_no_part_of_the_query(tmp_path: Path) -> None:
    async with open_api(tmp_path) as hub:
        paths = (await hub.http.get("/hookbot/v1/openapi.json")).json()["paths"]
        refused = await hub.http.post("/hookbot/v1/redeliver?Idempotency-Key=a")

    [key] = [one for one in paths["/hookbot/v1/redeliver"]["post"]["parameters"] if one["in"] == "header"]
    assert (key["name"], key["required"], refused.status_code) == ("Idempotency-Key", False, 400)
