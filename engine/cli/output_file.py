"""Check of a command's output file or folder, before the work."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from engine.errors import RequestError
from engine.files import temporary_sibling


def make_output_folder(path: Path) -> None:
    """Make the folder of --output, if there is none; raises RequestError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RequestError(f"{path} can't be made ({error.strerror})", action="give another --output folder") from None


def checked_output(path: Path, inputs: Iterable[str], *, overwrite: bool) -> Path:
    """Check that a file can be written without loss; returns its path with links followed.

    Parameters
    ----------
    inputs : files that are read meanwhile.
    overwrite : an existing file may be replaced.

    Raises
    ------
    RequestError
        If it is an input, exists already, is no regular file, or its folder can't be written to.
    """
    try:
        path = path.resolve()
        if path.exists():
            _check_existing(path, inputs, overwrite)
        elif not path.parent.is_dir():
            raise RequestError(f"{path.parent} is no folder", action="give a file in a folder that exists")
        probe = temporary_sibling(path)
        probe.touch(exist_ok=False)
        probe.unlink()
    except (OSError, RuntimeError) as error:  # RuntimeError: links that go round in a circle
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise RequestError(f"{path} can't be written ({why})", action="choose another folder or name") from error
    return path


def _check_existing(path: Path, inputs: Iterable[str], overwrite: bool) -> None:
    if not path.is_file():
        kind = "a folder" if path.is_dir() else "no regular file"
        raise RequestError(f"{path} is {kind}", action="give the name of a file")
    if any(os.path.exists(name) and os.path.samefile(path, name) for name in inputs):
        raise RequestError(f"{path} is also the input", action="give another name, so that no data are lost")
    if not overwrite:
        raise RequestError(f"{path} exists already", action="give another name, or --overwrite to replace it")
