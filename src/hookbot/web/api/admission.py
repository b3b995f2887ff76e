"""Admission to the API and to the console: the scope of a request, by its tokens or by the session of a browser."""

from collections.abc import Sequence
from contextlib import suppress

from ...access.audit import audit
from ...access.control import AccessControl
from ...access.scope import Scope, find_scope
from ...access.session import (
    add_to_session,
    check_asked_by_page,
    check_not_foreign,
    check_same_origin,
    join_session,
    open_session,
    session_tokens,
)
from ...access.tokens import find_tokens
from ...errors import Forbidden, Refused
from ...protocol.paths import SESSION
from ...protocol.request import Request
from ...protocol.topics import MAX_TOPIC_BYTES, decode_path


def admit(access: AccessControl, request: Request, asked: Sequence[str] = ()) -> Scope:
    """The scope of a request to the API, whose query names the patterns `asked`. Raises `Refused`.

    With the session of the console, only pages of this hub may change something, and no others may see anything.
    """
    path = decode_path(request.raw_path)
    tokens = find_tokens(request)
    if not any(tokens) and (tokens := session_tokens(request)):
        check = check_not_foreign if request.method in ("GET", "HEAD") else check_asked_by_page
        check(request, access.public_url)
    scope = find_scope(access.tokens.authorizer, tokens, path, asked, now_s=access.now_s)
    if scope is None:
        access.tokens.refuse(request, path, "operate")
    access.tokens.check_page(request)
    request.authenticated = True
    return scope


def is_valid(access: AccessControl, scope: Scope) -> bool:
    """True if all tokens of a scope are still valid: for what goes on after its request was admitted."""
    return all(access.tokens.authorizer.is_valid(held.grant, now_s=access.now_s) for held in scope.held)


def has_session(access: AccessControl, request: Request) -> bool:
    """True if a request has a session of the console that opens something. Counts nothing."""
    with suppress(Forbidden):
        return _scope_of_session(access, session_tokens(request)) is not None
    return False


def sign_in(access: AccessControl, request: Request) -> str:
    """The value of the cookie of a session with the request's token and those of its session. Raises `Refused`.

    The parameter ``path`` names the path of a plain token.
    """
    check_asked_by_page(request, access.public_url)
    path = request.parameters.get("path", "")
    # It takes an HMAC for each of its prefixes.
    if len(path) > MAX_TOPIC_BYTES:
        raise Refused(f"no token has a path of more than {MAX_TOPIC_BYTES} characters, such as {path[:100]!r}...")
    found = (open_session(access.tokens.authorizer, token, path, now_s=access.now_s) for token in find_tokens(request))
    token = next(filter(None, found), None)
    if token is None:
        access.tokens.refuse(request, path or SESSION, "operate")
    tokens = add_to_session(access.tokens.authorizer, session_tokens(request), token, now_s=access.now_s)
    scope = _scope_of_session(access, tokens)
    if scope is None:
        raise Forbidden("the token opens nothing that the console shows: that takes one for /sub/ or /hookbot/v1/")
    session = join_session(tokens)
    audit("a session of the console was opened", by=scope.by, client=request.client)
    return session


def sign_out(access: AccessControl, request: Request) -> None:
    """Log the end of a session, which is that of its cookie. Raises `Forbidden` unless a page of this hub asks."""
    check_same_origin(request, access.public_url)
    with suppress(Forbidden):
        if scope := _scope_of_session(access, session_tokens(request)):
            audit("a session of the console was ended", by=scope.by, client=request.client)


def _scope_of_session(access: AccessControl, tokens: Sequence[str]) -> Scope | None:
    return find_scope(access.tokens.authorizer, tokens, SESSION, (), now_s=access.now_s)
