"""Places in the repository that a page names, such as ``web/app.py::create_app``."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

PLACE = re.compile(r"`((?:[\w.-]+/)*(?:[\w.-]+/|[\w.-]+\.(?:py|md|toml|txt)))(?:::([\w.]+))?`")


def places_in(page: str) -> set[tuple[str, str]]:
    """Each path in backticks, with the dotted name behind it or an empty string."""
    return set(PLACE.findall(page))


def missing_places(page: str, root: Path) -> list[str]:
    """The places of a page that are not there, beneath a folder."""
    return sorted(
        f"{path}::{name}" if name else path for path, name in places_in(page) if not exists(root / path, name)
    )


def exists(path: Path, dotted: str) -> bool:
    """True if there is such a file or folder, and, if a name is given, the file defines that."""
    return path.exists() and (not dotted or dotted in set(definitions(ast.parse(path.read_text()).body)))


def definitions(body: list[ast.stmt], prefix: str = "") -> Iterator[str]:
    """Dotted names of the functions, classes, constants, fields and methods that statements define."""
    for statement in body:
        match statement:
            case ast.ClassDef(name=name):
                yield prefix + name
                yield from definitions(statement.body, f"{prefix}{name}.")
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield prefix + name
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                yield prefix + name
