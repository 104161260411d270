"""TensorFlow without the lines that it prints on every import, which no setting of its own turns off."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

CHATTER = re.compile(rb"^([IWE]\d{4} \d\d:|WARNING: All log messages before absl|To enable the following instructions)")
LEVEL = "TF_CPP_MIN_LOG_LEVEL"  # 3: fatal errors only, which come as exceptions too


@contextmanager
def quiet_import() -> Iterator[None]:
    """Hold back the error stream of this process, and pass on what isn't chatter; TF_CPP_MIN_LOG_LEVEL=0 shows all.

    What is imported within does without matplotlib: Keras would import it for pictures that the engine never draws,
    which takes a sixth of the start of each rank.
    """
    if os.environ.setdefault(LEVEL, "3") == "0":
        with _import_blocked("matplotlib"):
            yield
        return
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            with _import_blocked("matplotlib"):
                yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            held.seek(0)
            for line in held:
                if not CHATTER.match(line):
                    os.write(2, line)


@contextmanager
def _import_blocked(package: str) -> Iterator[None]:
    """Let an import of an optional package fail, unless it has been imported already."""
    if package in sys.modules:
        yield
        return
    sys.modules[package] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[package]
