"""Disk space that is set aside."""

from pathlib import Path

import pytest

from hookbot.log.disk_reserve import BLOCK, FILE, SIZE, DiskReserve
from support.damage import fill, small_disk


def allocated(directory: Path) -> int:
    """Bytes of the disk that the reserve takes."""
    return (directory / FILE).stat().st_blocks * 512


def test_space_is_set_aside_and_given_back(tmp_path: Path) -> None:
    reserve = DiskReserve(tmp_path)

    reserve.hold()
    assert reserve.held
    assert allocated(tmp_path) >= reserve.size == SIZE

    reserve.release()
    assert not reserve.held
    assert list(tmp_path.iterdir()) == []
    reserve.release()


def test_what_an_earlier_process_has_set_aside_is_taken_over(tmp_path: Path) -> None:
    DiskReserve(tmp_path).hold()
    before = (tmp_path / FILE).stat().st_ino

    DiskReserve(tmp_path).hold()

    assert (tmp_path / FILE).stat().st_ino == before


def test_a_disk_has_room_until_it_is_full(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "16m") as disk:
        reserve = DiskReserve(disk)
        assert reserve.has_room()

        fill(disk)
        assert not reserve.has_room()


def test_what_is_held_counts_as_room_for_who_may_give_it_up(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "16m") as disk:
        reserve = DiskReserve(disk)
        reserve.hold()
        fill(disk)

        reserve.check_room(reserve.size)
        with pytest.raises(OSError, match="No space left"):
            reserve.check_room(reserve.size + BLOCK)


def test_a_small_disk_keeps_most_of_its_space(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "16m") as disk:
        assert DiskReserve(disk).size == 2 << 20


def test_of_a_disk_with_too_little_space_all_of_it_is_set_aside(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "16m") as disk:
        fill(disk, leave=3 * BLOCK)
        reserve = DiskReserve(disk)

        with pytest.raises(OSError, match="No space left"):
            reserve.hold()
        assert not reserve.held
        assert allocated(disk) == 3 * BLOCK
        (disk / "filler").unlink()
        fill(disk, leave=2 * BLOCK)

        # Half of it is enough.
        reserve.hold()
        assert reserve.held
        assert allocated(disk) == 5 * BLOCK

        reserve.release()
        (disk / "filler").unlink()
        reserve.hold()
        assert reserve.held
        assert allocated(disk) == reserve.size
