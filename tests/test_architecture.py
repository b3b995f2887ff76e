"""The house: which room stands on which floor, and that imports only point down."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "hookbot"

FLOORS = {
    0: "errors version topics message slices since tokens narrowed places request proxies throttle config_file signatures "
    "expressions fetching ranges",
    1: "retention admission newest log log_tables log_file log_sqlite metrics poller websocket authority standing "
    "credentials sources publishing listening intake config answers",
    2: "gate verifying channels writer pages broker wire",
    3: "framing streams subscriber audience fanout keys holds positions leases cursors group groups sessions routers "
    "config_sections tls reloading",
    4: "http1 arriving lobby connection door serving subscriptions api health app",
    5: "server logs welcome testing cli",
}
"""Rooms from the ground up; ``cli`` stands for every ``cli_*``. A room may use its own floor, and those below."""

SIDE = {"client", "blocking", "handling"}
"""Listening from outside: uses floor 0 only."""


def rooms():
    return {path.relative_to(SOURCE).parts[0].removesuffix(".py") for path in SOURCE.rglob("*.py")} - {
        "__init__",
        "__main__",
        "__pycache__",
    }


def floor_of(room):
    name = "cli" if room.startswith("cli_") else room
    return next((floor for floor, names in FLOORS.items() if name in names.split()), None)


def imports_of(room):
    """The rooms that a room imports."""
    files = SOURCE.glob(f"{room}.py") if (SOURCE / f"{room}.py").exists() else (SOURCE / room).rglob("*.py")
    found = set()
    for file in files:
        depth = len(file.relative_to(SOURCE).parts)
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level == depth:
                names = [node.module] if node.module else [alias.name for alias in node.names]
                found |= {name.split(".")[0] for name in names}
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("hookbot."):
                found.add(node.module.split(".")[1])
    return {name for name in found if name in rooms()} - {room}


def test_every_room_has_a_floor():
    assert {room for room in rooms() if floor_of(room) is None} <= SIDE


def test_every_floor_has_only_rooms_that_exist():
    assert {name for names in FLOORS.values() for name in names.split()} <= rooms()


@pytest.mark.parametrize("room", sorted(rooms()))
def test_imports_only_point_down(room):
    floor = 0 if room in SIDE else floor_of(room)
    above = {name for name in imports_of(room) if name not in SIDE and (floor_of(name) or 0) > floor}

    assert above == set()


def test_only_the_client_knows_trio_websocket():
    users = {path.relative_to(SOURCE).parts[0] for path in SOURCE.rglob("*.py") if "trio_websocket" in path.read_text()}

    assert users <= {"client"}
