"""docs/testing.md: its project can be typed, and its tests pass in a pytest of their own."""

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

import hookbot.testing
from hookbot.testing import TestHub, ThreadedHub, signed_delivery, threaded_hub
from support.pages import blocks, lines_printed, lines_shown, page

PAGE = page("docs/testing.md")
PROJECT = dict(re.findall(r"```(?:python|ini)\n# (\S+)\n(.*?)```", PAGE, re.DOTALL))
SOURCE = {"topic": "/unsafe/stripe", "provider": "stripe", "secrets": ["whsec_live"]}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A directory with every file of the page, as a reader would type it, and a recording of a real delivery."""
    for name, text in PROJECT.items():
        (tmp_path / name).write_text(text)
    [record] = blocks(PAGE)
    with threaded_hub(sources=[SOURCE]) as hub:
        delivery = signed_delivery("stripe", "whsec_live")
        url = f"{hub.url}/unsafe/pub/stripe"
        httpx.post(url, content=delivery.body, headers=list(delivery.headers)).raise_for_status()
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "SUB": hub.url_for("/unsafe/sub/stripe"),
        }
        done = subprocess.run(
            record, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        )
    assert lines_shown(PAGE) == lines_printed(done.stderr)
    return tmp_path


@pytest.mark.slow
def test_all_tests_of_the_page_pass_without_a_warning(project: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider"],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout
    assert f"{''.join(PROJECT.values()).count('def test_') + 1} passed" in done.stdout


@pytest.mark.parametrize("kind", [TestHub, ThreadedHub])
def test_the_page_has_all_that_a_hub_does(kind: type) -> None:
    assert [name for name in vars(kind) if not name.startswith("_") and f"`{name}(" not in PAGE] == []


@pytest.mark.parametrize("name", ["play", "recorded", "serving", "signed_delivery", "threaded_hub", "open_test_hub"])
def test_the_page_has_each_function_with_its_parameters(name: str) -> None:
    row, *_ = re.findall(rf"(?m)^\| `{name}\((.*?)\)` \|", PAGE)
    parameters = inspect.signature(getattr(hookbot.testing, name)).parameters
    assert re.findall(r"\w+(?==|,|$)", re.sub(r"=(?:\(\)|\"[^\"]*\"|\w+)", "", row)) == list(parameters)
