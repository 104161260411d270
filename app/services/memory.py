"""Memory that closed tabs leave free, given back to the system."""

from __future__ import annotations

import ctypes


def release_free_memory() -> None:
    """Have the C library give back all free pages.

    glibc gives back those at the end of its heap alone: what a tab leaves free lies between what stays, and the next
    tab, whose figures are of other sizes, takes new pages (malloc_trim(3)). Other C libraries are left as they are.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
