"""Data directory of a user: where it is, and how it is made."""

import os
from contextlib import suppress
from pathlib import Path

from ..errors import ConfigError, system_reason

NO_HOME = Path(os.devnull, "no-home")
"""Data directory of a user without a home: there is nothing in it, and nothing can be kept in it."""
_NAME_ONE = "name a directory in the variable HOOKBOT_DATA_DIR"


def default_data_dir() -> Path:
    """The platform's directory for a program's state, for example ``~/.local/state/hookbot``, else `NO_HOME`."""
    # Not needed if the directory is named, as by a service.
    import platformdirs  # noqa: PLC0415

    # Without a home, some versions of platformdirs raise this, and others return a relative path.
    with suppress(RuntimeError):
        directory = Path(platformdirs.user_state_dir("hookbot"))
        if directory.is_absolute():
            return directory
    return NO_HOME


def make_data_dir(directory: Path) -> Path:
    """The directory, made if it does not exist, so that only this user can read it. Raises `ConfigError`."""
    if directory == NO_HOME:
        raise ConfigError(f"this user has no home directory: {_NAME_ONE}")
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot make the directory {directory}: {system_reason(error)}; {_NAME_ONE}") from None
    return directory
