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
    for methods in document["paths"].values():
        for operation in methods.values():
            assert operation["summary"]
            assert {"200", "401", "403"} <= set(operation["responses"])
