"""Memory of the process: what large messages took is given back to the system, and what stays is not garbage."""

import ctypes
import gc

import trio

# Numbers of the parameters of mallopt(3), and the size from which blocks are given back.
TRIM_THRESHOLD = -1
MMAP_THRESHOLD = -3
GIVE_BACK_BYTES = 1 << 20


def give_back_large_blocks() -> bool:
    """Make malloc give large blocks back as soon as they are freed; False if this is not possible here.

    By default, glibc keeps blocks of up to 32 MiB after the first of them was freed, in a heap for each thread: after a
    few messages of 25 MB, the process would have twice the size of what it holds.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # pragma: no cover - not glibc
        return False
    return all(mallopt(parameter, GIVE_BACK_BYTES) for parameter in (MMAP_THRESHOLD, TRIM_THRESHOLD))


async def exempt_what_stays(complete: trio.Event) -> None:
    """Exempt what the process holds from garbage collection, which then begins, and again when the hub is `complete`.

    Modules and the hub itself live until the end; searching them for garbage would cost a tenth of the time.
    """
    gc.freeze()
    gc.enable()
    await complete.wait()
    gc.freeze()
