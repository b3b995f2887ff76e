import pytest
from quart import request, websocket

from hookbot.web.asgi import plain_request
from support.apps import ObservedApp, self_signed


@pytest.fixture
def app() -> ObservedApp:
    app = ObservedApp(max_body_bytes=1 << 20)

    @app.get("/")
    async def index() -> str:
        app.seen.append(plain_request(request))
        return "hello"

    @app.post("/pub")
    async def publish() -> str:
        return f"{len(await request.get_data())} bytes"

    @app.post("/locked")
    async def locked() -> tuple[str, int]:
        return "401 Unauthorized", 401

    @app.websocket("/ws")
    async def echo() -> None:
        await websocket.accept()
        while True:
            await websocket.send(await websocket.receive())

    return app


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file with the hub's certificate and key."""
    return self_signed(tmp_path_factory.mktemp("tls") / "hub.pem", "hub")[0]
