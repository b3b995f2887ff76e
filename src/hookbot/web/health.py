"""Paths for those who watch a hub: health checks without a token, and ``/metrics`` with one that opens it."""

from collections.abc import Awaitable, Callable

from quart import Blueprint, Response, request

from .asgi import plain_request
from .prometheus import CONTENT_TYPE, render
from .services import Services


def create_health(check: Callable[[], Awaitable[None]]) -> Blueprint:
    """Health routes: ``/healthz`` and ``/status`` always succeed, ``/readyz`` if `check` does."""
    health = Blueprint("health", __name__)

    @health.get("/status")
    async def status() -> Response:
        return _text("OK\n")

    @health.get("/healthz")
    async def healthz() -> Response:
        return _text("ok\n")

    @health.get("/readyz")
    async def readyz() -> Response:
        await check()
        return _text("ok\n")

    return health


def create_metrics(services: Services) -> Blueprint:
    """The route of the metrics."""
    metrics = Blueprint("metrics", __name__)

    @metrics.get("/metrics")
    async def show() -> Response:
        plain = plain_request(request)
        services.access.tokens.admit_operator(plain)
        plain.check_names({"token"})
        await services.metrics.load()
        return Response(render(services.metrics), content_type=CONTENT_TYPE)

    return metrics


def _text(text: str) -> Response:
    return Response(text, content_type="text/plain; charset=utf-8")
