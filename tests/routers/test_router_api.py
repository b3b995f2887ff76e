"""The interface that routers are written against. Who changes an expectation here breaks other people's packages."""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import hookbot
import hookbot.testing
from hookbot import Message, Verified
from hookbot.routers import loading

SIGNATURES: dict[Callable[..., Any], str] = {
    hookbot.Publish.__call__: "(self, topic, what, /, *, headers=(), wrapped=False, name='')",
    hookbot.Router.route: "(self, message, publish)",
    hookbot.Message.header: "(self, name)",
    hookbot.Message.json: "(self)",
    hookbot.testing.route: "(router, topic, body=b'', headers=(), *, verified=None, query='')",
    hookbot.testing.routed: "(router, message, *, blocked_s=1.0)",
    hookbot.testing.make_message: "(topic, body=b'', headers=(), *, verified=None, query='')",
    hookbot.testing.signed_delivery: "(provider, secret, body=None, headers=(), *, event=None, url='')",
    hookbot.testing.open_test_hub: "(*routers, sources=())",
    hookbot.testing.TestHub.url_for: "(self, path)",
    hookbot.testing.TestHub.publish: "(self, topic, body=b'', headers=(), *, verified=None, query='')",
    hookbot.testing.TestHub.wait_for: "(self, topic, count=1)",
}


def bare(function: Callable[..., Any]) -> str:
    """The signature without annotations."""
    signature = inspect.signature(function)
    parameters = [one.replace(annotation=inspect.Parameter.empty) for one in signature.parameters.values()]
    return str(signature.replace(parameters=parameters, return_annotation=inspect.Signature.empty))


def test_functions_take_what_they_always_took() -> None:
    assert {function: bare(function) for function in SIGNATURES} == SIGNATURES


def test_names_are_where_they_always_were() -> None:
    assert hookbot.API_VERSION == 1
    assert loading.GROUP == "hookbot.routers"
    assert set(hookbot.__all__) >= {
        *("API_VERSION", "Headers", "Message", "Publish", "Router", "Secret", "Verified"),
        *("BadSignature", "ConfigError", "HookbotError", "InvalidTopic", "Refused", "Unavailable"),
    }
    assert all(hasattr(hookbot, name) for name in hookbot.__all__)
    assert set(hookbot.testing.__all__) >= {
        *("Delivery", "TestHub", "make_message", "open_test_hub", "route", "routed", "signed_delivery")
    }
    assert hookbot.testing.Delivery._fields == ("body", "headers")


def test_a_router_has_a_name_topics_and_route() -> None:
    assert {name for name, value in vars(hookbot.Router).items() if isinstance(value, property)} == {"name", "topics"}
    assert inspect.iscoroutinefunction(hookbot.Router.route)


def test_a_message_has_what_it_always_had() -> None:
    assert {field.name for field in dataclasses.fields(Message)} >= {
        *("topic", "body", "headers", "query", "verified", "hops", "duplicate_of", "replay_of", "routed_from", "id")
    }
    assert isinstance(Message.time, property)
    assert [field.name for field in dataclasses.fields(Verified)][:4] == ["provider", "key", "signed_at", "source"]


def test_errors_are_what_they_always_were() -> None:
    assert issubclass(hookbot.Refused, hookbot.HookbotError)
    assert issubclass(hookbot.InvalidTopic, hookbot.Refused)
    assert issubclass(hookbot.BadSignature, hookbot.Refused)
    assert issubclass(hookbot.Unavailable, hookbot.HookbotError)
    assert issubclass(hookbot.ConfigError, hookbot.HookbotError)


def test_a_secret_is_a_string_that_its_repr_does_not_show() -> None:
    secret = hookbot.Secret("s3cret")
    assert secret == "s3cret"
    assert repr(secret) == "Secret('...')"
    assert "s3cret" not in repr({"token": secret})
