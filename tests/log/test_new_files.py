import os
from pathlib import Path

import pytest

from hookbot.log.new_files import new_file


def test_a_file_replaces_another_when_it_is_whole_and_is_private(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_text("before")

    with new_file(target) as (path, descriptor):
        os.write(descriptor, b"after")
        assert (path.parent, path.read_text(), target.read_text()) == (tmp_path, "after", "before")

    assert (target.read_text(), target.stat().st_mode & 0o777) == ("after", 0o600)
    assert list(tmp_path.iterdir()) == [target]


def test_a_file_that_fails_leaves_nothing(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_text("before")

    with pytest.raises(KeyboardInterrupt), new_file(target):
        raise KeyboardInterrupt

    assert target.read_text() == "before"
    assert list(tmp_path.iterdir()) == [target]
