"""The names that programs import from hookbot."""

import subprocess
import sys

import pytest

import hookbot
from hookbot import client


def test_every_public_name_is_there() -> None:
    assert all(hasattr(hookbot, name) for name in hookbot.__all__)
    assert hookbot.listen is client.listen
    assert hookbot.publish is client.publish


def test_any_other_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'hookbot' has no attribute 'lisen'"):
        hookbot.lisen  # noqa: B018


@pytest.mark.slow
def test_the_client_is_imported_by_the_first_who_uses_it() -> None:
    script = "import sys, hookbot; assert 'hookbot.client' not in sys.modules; hookbot.listen; print('used')"

    assert subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout == "used\n"
