"""How the process gets its memory from the system, and gives it back."""

import contextlib
import ctypes
from typing import Final

_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8
_LARGE_BYTES: Final = 1024 * 1024
_ARENAS_MAX: Final = 2


def return_large_blocks() -> None:
    """Have glibc give large blocks back to the system when they are freed; elsewhere, nothing.

    By itself it keeps them once it has seen a few, in as many heaps as there are threads: a server that had
    taken large bodies in held half as much memory again (docs/operations.md).
    """
    with contextlib.suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
        mallopt(_M_ARENA_MAX, _ARENAS_MAX)
