"""Memory that closed tabs leave free, given back to the system."""

from __future__ import annotations

import ctypes
import gc


def release_free_memory() -> None:
    """Collect what an ended session left in circles, then have the C library give back all free pages.

    Bokeh collects before it reports the end of a session, when Panel's lists still hold parts of it.

    glibc gives back those at the end of its heap alone: what a tab leaves free lies between what stays, and the next
    tab, whose figures are of other sizes, takes new pages (malloc_trim(3)). Other C libraries are left as they are.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
