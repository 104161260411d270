"""Errors as one line for the user."""

from __future__ import annotations

import errno

from engine.errors import MesoscopeError

TRACE_HEADS = ("Graph execution error:", "in user code:")


def describe_error(error: BaseException) -> str:
    """One line for the user: our own errors in their own words, others with their kind."""
    if isinstance(error, MesoscopeError):
        return str(error)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk is full ({error.filename or 'in the run folder'}): free some space, then resume"
    if isinstance(error, MemoryError):
        return "not enough memory: choose a smaller training.batch_size, data.patch_size or data.region"
    kind = type(error).__name__
    return f"{kind}: {_main_line(str(error)).removeprefix(f'{kind}: ')}"


def _main_line(message: str) -> str:
    """The first line, or, where TensorFlow puts a trace of its own first, the last with a message."""
    lines = [line.strip() for line in message.splitlines() if line.strip()] or [""]
    if lines[0] not in TRACE_HEADS:
        return lines[0]
    return [line for line in lines if not line.startswith(("[[", "File "))][-1]
