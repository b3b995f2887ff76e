import os

import pytest


@pytest.fixture
def environment(monkeypatch, tmp_path):
    """Nothing that could be a key or an option, and a data directory that is not there yet."""
    for name in [name for name in os.environ if name.startswith("HOOKBOT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOOKBOT_DATA_DIR", str(tmp_path / "data"))
    return monkeypatch


@pytest.fixture
def directory(environment, tmp_path):
    """The working directory, empty."""
    environment.chdir(tmp_path)
