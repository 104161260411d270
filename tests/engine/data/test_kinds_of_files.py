"""The table of kinds of files in docs/data.md: each is written as its tool writes it, read, and compared."""

from __future__ import annotations

import pytest

from tests.engine.data.kinds.table import KINDS, rows_of_page

ROWS = rows_of_page()


def test_the_page_has_each_kind_once():
    assert len(KINDS) >= 150
    assert list(ROWS) == [(kind.tool, kind.what) for kind in KINDS]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind.tool}: {kind.what}")
def test_a_kind_of_file_is_taken_or_refused_as_the_page_says(kind, tmp_path):
    # where this differs for good: python -m tests.engine.data.kinds.table
    assert kind.outcome(tmp_path) == ROWS[kind.tool, kind.what]
