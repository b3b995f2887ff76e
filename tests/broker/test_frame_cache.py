"""The frame cache: the newest frames stay, up to a size."""

from hookbot.broker.frame_cache import FRAME_BYTES, FrameCache, Frames


def cache_for(frames: int, size: int) -> FrameCache:
    """A cache with room for so many frames, of so many bytes in all."""
    return FrameCache(frames * FRAME_BYTES + size)


def test_the_oldest_frames_make_room_for_new_ones_whichever_message_they_are_of() -> None:
    cache, one, other = cache_for(2, 10), Frames(), Frames()
    cache.keep(one, "raw", b"12345")
    cache.keep(other, "raw", b"12345")
    cache.keep(one, "v1", b"1")

    assert (one, other) == ({"v1": b"1"}, {"raw": b"12345"})


def test_the_newest_frame_stays_however_large() -> None:
    cache, one, other = FrameCache(10), Frames(), Frames()
    cache.keep(one, "raw", b"1")
    cache.keep(other, "raw", b"1" * 100)
    assert (one, other) == ({}, {"raw": b"1" * 100})

    cache.keep(one, "raw", b"1")
    assert (one, other) == ({"raw": b"1"}, {})


def test_frames_make_room_for_one_that_is_still_to_be_encoded() -> None:
    cache, one, other = cache_for(2, 10), Frames(), Frames()
    cache.keep(one, "raw", b"12345")
    cache.keep(other, "raw", b"12345")
    cache.make_room(5)
    assert (one, other) == ({}, {"raw": b"12345"})

    cache.make_room(1000)
    assert (one, other) == ({}, {})


def test_several_small_frames_make_room_for_a_large_one() -> None:
    cache, frames = cache_for(5, 10), Frames()
    for number in range(5):
        cache.keep(frames, number, b"12")

    cache.make_room(7 + 3 * FRAME_BYTES)

    assert list(frames) == [4]


def test_of_frames_of_a_few_bytes_the_cache_keeps_few_too() -> None:
    cache = FrameCache(100_000)
    all_frames = [Frames() for _ in range(1000)]

    for frames in all_frames:
        cache.keep(frames, "raw", b"1")

    assert sum(map(len, all_frames)) < 300


def test_a_cache_that_is_cleared_has_no_frame_left_and_says_so() -> None:
    cache, one, other = FrameCache(10), Frames(), Frames()
    cache.keep(one, "raw", b"1" * 100)

    cache.clear()
    assert (one, cache.cleared) == ({}, 1)

    cache.keep(other, "raw", b"1")
    assert other == {"raw": b"1"}
