"""The architecture: imports point one way through the packages, never in a circle, and docs/design.md is its map."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from module_coverage import own_test
from support.places import missing_places, places_in

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "hookbot"

ORDER = (
    {"__init__", "__main__", "blocking", "testing"},
    {"cli"},
    {"hub"},
    {"web", "routers", "delivery"},
    {"alerts"},
    {"broker", "access", "client"},
    {"log", "signatures"},
    {"protocol"},
    {"standard_files"},
    {"errors", "version", "backoff", "terminal", "threads", "callbacks", "file_locks"},
)
"""A package imports what stands in a later row, and its own modules; nothing in its own row or an earlier one."""


def name_of(path: Path) -> str:
    parts = ("hookbot", *path.relative_to(SOURCE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {name_of(path): path for path in sorted(SOURCE.rglob("*.py"))}


def imports_of(module: str) -> Iterator[str]:
    """The modules of the house that a module imports, wherever in it the import stands."""
    package = module if FILES[module].name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(FILES[module].read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in FILES)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            if base in FILES:
                names = {f"{base}.{alias.name}" for alias in node.names}
                yield from {name if name in FILES else base for name in names}


IMPORTS = {module: set(imports_of(module)) - {module} for module in FILES}


def package_of(module: str) -> str:
    return module.split(".")[1] if "." in module else "__init__"


def row_of(module: str) -> int:
    """Row of a module's package; -1 if it has none."""
    return next((row for row, packages in enumerate(ORDER) if package_of(module) in packages), -1)


def test_every_package_has_its_place_in_the_order() -> None:
    assert [module for module in FILES if row_of(module) < 0] == []


@pytest.mark.parametrize("module", FILES)
def test_a_module_with_code_has_a_test_file_of_its_own(module: str) -> None:
    path = FILES[module]
    if any(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) for node in ast.walk(ast.parse(path.read_text()))):
        assert (ROOT / own_test(path.relative_to(SOURCE).as_posix())).exists()


@pytest.mark.parametrize("module", FILES)
def test_imports_point_one_way(module: str) -> None:
    others = {name for name in IMPORTS[module] if package_of(name) != package_of(module)}
    assert {name for name in others if row_of(name) <= row_of(module)} == set()


def test_no_imports_go_in_a_circle() -> None:
    done, circles = set(), []

    def visit(module: str, path: list[str]) -> None:
        if module in path:
            circles.append(" -> ".join([*path[path.index(module) :], module]))
        elif module not in done:
            for imported in sorted(IMPORTS[module]):
                visit(imported, [*path, module])
            done.add(module)

    for module in FILES:
        visit(module, [])
    assert circles == []


@pytest.mark.slow
def test_every_module_can_be_imported_with_nothing_but_what_hookbot_depends_on() -> None:
    """Packages that only the extras of pyproject.toml install are hidden."""
    script = """
import importlib, importlib.metadata, re, sys

def names(requirements):
    return {re.match(r"[\\w.-]+", text)[0].lower().replace("_", "-") for text in requirements}

required, waiting = set(), {"hookbot"}
while waiting:
    name = waiting.pop()
    required.add(name)
    try:
        needs = importlib.metadata.requires(name) or ()
    except importlib.metadata.PackageNotFoundError:
        continue
    waiting |= names(text for text in needs if "extra ==" not in text) - required
distributions = importlib.metadata.packages_distributions()
absent = {top for top, of in distributions.items() if not {name.lower().replace("_", "-") for name in of} & required}

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in absent:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
for module in sys.argv[1:]:
    importlib.import_module(module)
"""
    # The plugin of pytest is imported by pytest alone.
    modules = [module for module in FILES if module not in ("hookbot.__main__", "hookbot.testing.plugin")]
    subprocess.run([sys.executable, "-c", script, *modules], check=True, timeout=60)


def test_only_the_client_knows_trio_websocket() -> None:
    users = {path.relative_to(SOURCE).parts[0] for path in SOURCE.rglob("*.py") if "trio_websocket" in path.read_text()}
    assert users <= {"client"}


def test_every_logger_is_named_after_its_package() -> None:
    names = {name for path in SOURCE.rglob("*.py") for name in re.findall(r"getLogger\((.*?)\)", path.read_text())}
    assert names == {"__package__", '"hookbot"', '"hookbot.audit"', '"hookbot.access_log"'}


# -- the map

MAP = (ROOT / "docs" / "design.md").read_text()


def packages() -> set[str]:
    return {path.parent.relative_to(SOURCE).as_posix() for path in SOURCE.glob("*/**/__init__.py")}


def test_the_map_names_every_package() -> None:
    assert {package for package in packages() if f"`{package}/`" not in MAP} == set()


def test_every_place_that_the_map_names_exists() -> None:
    assert len(places_in(MAP)) > len(packages())
    assert missing_places(MAP, SOURCE) == []


@pytest.mark.parametrize("package", sorted(packages()))
def test_every_package_says_what_it_is_for(package: str) -> None:
    docstring = ast.get_docstring(ast.parse((SOURCE / package / "__init__.py").read_text()))
    assert docstring
    assert len(docstring.splitlines()) >= 3
