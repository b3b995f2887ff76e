"""Progress of what a client sends."""

from trio.testing import MockClock

from hookbot.web.progress import UploadProgress


async def test_only_enough_bytes_are_progress(mock_clock: MockClock) -> None:
    progress = UploadProgress(10)
    begun_at = progress.made_at
    mock_clock.jump(1)
    progress.count(9)
    assert progress.made_at == begun_at

    progress.count(1)
    assert progress.made_at == begun_at + 1

    mock_clock.jump(1)
    progress.count(9)
    assert progress.made_at == begun_at + 1


async def test_other_progress_begins_the_count_anew(mock_clock: MockClock) -> None:
    progress = UploadProgress(10)
    progress.count(9)
    mock_clock.jump(1)
    progress.make()
    made_at = progress.made_at

    mock_clock.jump(1)
    progress.count(9)
    assert progress.made_at == made_at
