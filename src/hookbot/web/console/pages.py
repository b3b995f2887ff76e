"""Pages of the console, their static files, and signing in and out.

Pages are the same for everybody who is signed in: what they show comes from the API, with the session's cookie. All
links are relative, so that a proxy may have the hub beneath any path.
"""

from collections.abc import Mapping
from hashlib import sha256
from importlib.resources import files
from pathlib import PurePath

from quart import Blueprint, Response, render_template, request

from ...access.session import COOKIES, SESSION_S
from ...errors import NotFound
from ...protocol.request import Request
from ...version import __version__
from ..api import admission
from ..api.public_url import is_https
from ..asgi import note_authentication, plain_request
from ..services import Services

PAGES = {"": "live", **{name: name for name in ("listeners", "routers", "sources", "rates", "start")}}
"""Template of each page, by its path beneath ``/hookbot/``."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def create_console(services: Services) -> Blueprint:
    """Routes of the console."""
    console = Blueprint("console", __name__, template_folder="templates")
    _add_pages(console, services)
    _add_static(console)
    _add_sign_in(console, services)

    @console.after_request
    async def protect(response: Response) -> Response:
        response.headers.update(HEADERS)
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    return console


def is_visit(plain: Request) -> bool:
    """True if a browser asks for the page at ``/``, where there is none."""
    return plain.raw_path == b"/" and plain.method == "GET" and "text/html" in plain.header("accept")


def _add_pages(console: Blueprint, services: Services) -> None:
    async def show(template: str, root: str) -> Response:
        plain = plain_request(request)
        if not admission.has_session(services.access, plain):
            return _redirect(f"{root}sign-in")
        plain.authenticated = True
        note_authentication(request)
        return await _render(template, root, signed_in=True)

    @console.get("/hookbot/")
    @console.get("/hookbot/<page>")
    async def page(page: str = "") -> Response:
        if plain_request(request).raw_path == b"/hookbot":
            return _redirect("hookbot/")
        if page not in PAGES:
            raise NotFound(f"the console has no page {page[:80]!r}")
        return await show(PAGES[page], "./")

    @console.get("/hookbot/messages/<id>")
    async def message(id: str) -> Response:
        return await show("message", "../")


def _add_static(console: Blueprint) -> None:
    static = _read_static()

    @console.get("/hookbot/static/<name>")
    async def file(name: str) -> Response:
        if name not in static:
            raise NotFound(f"the console has no file {name[:80]!r}")
        content, tag = static[name]
        # Asked for each time, so that pages and modules of two versions never meet.
        headers = {"ETag": tag, "Cache-Control": "no-cache"}
        if tag in request.headers.get("If-None-Match", ""):
            return Response(b"", 304, headers)
        return Response(content, 200, headers, content_type=f"{TYPES[PurePath(name).suffix]}; charset=utf-8")


def _read_static() -> Mapping[str, tuple[bytes, str]]:
    """Content of each static file, and its entity tag."""
    found = {one.name: one.read_bytes() for one in (files(__package__) / "static").iterdir()}
    return {name: (content, f'"{sha256(content).hexdigest()[:16]}"') for name, content in found.items()}


def _add_sign_in(console: Blueprint, services: Services) -> None:
    @console.get("/hookbot/sign-in")
    async def ask() -> Response:
        # Whoever is signed in adds a token.
        signed_in = admission.has_session(services.access, plain_request(request))
        return await _render("sign-in", "./", signed_in=signed_in)

    @console.post("/hookbot/sign-in")
    async def sign_in() -> Response:
        plain = plain_request(request)
        plain.check_names({"path"})
        value = admission.sign_in(services.access, plain)
        plain.authenticated = True
        note_authentication(request)
        secure = is_https(services.access, plain)
        return _with_cookie(Response(b"", 204), value, SESSION_S, secure=secure)

    @console.post("/hookbot/sign-out")
    async def sign_out() -> Response:
        admission.sign_out(services.access, plain_request(request))
        # Over TLS, a browser sends the cookie that it was given without as well.
        return _with_cookie(_with_cookie(_redirect("sign-in"), "", 0, secure=False), "", 0, secure=True)


def _with_cookie(response: Response, value: str, max_age_s: int, *, secure: bool) -> Response:
    name = COOKIES[0] if secure else COOKIES[1]
    response.set_cookie(name, value, max_age_s, path="/", secure=secure, httponly=True, samesite="Strict")
    return response


async def _render(page: str, root: str, *, signed_in: bool) -> Response:
    text = await render_template(f"{page}.html", root=root, page=page, version=__version__, signed_in=signed_in)
    return Response(text)


def _redirect(place: str) -> Response:
    """Redirect to a relative place."""
    return Response(b"", 303, {"Location": place})
