"""The names of the package, each imported when it is used."""

import subprocess
import sys

import pytest

import hookbot.testing


def test_every_public_name_is_there() -> None:
    assert [name for name in hookbot.testing.__all__ if not hasattr(hookbot.testing, name)] == []
    assert hookbot.testing.KEY


def test_a_name_that_is_not_there_is_an_error_as_in_any_module() -> None:
    with pytest.raises(AttributeError, match=r"module 'hookbot\.testing' has no attribute 'rout'"):
        hookbot.testing.rout  # noqa: B018


def test_the_package_needs_neither_pytest_nor_a_hub_before_they_are_used() -> None:
    script = "import sys, hookbot.testing; print([name for name in ('pytest', 'trio', 'quart') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert done.stdout == b"[]\n"
