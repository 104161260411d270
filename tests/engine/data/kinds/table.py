"""The table of kinds of files in docs/data.md: `python -m tests.engine.data.kinds.table` writes it anew."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from tests.engine.data.kinds import archives, formats, groups, models, observations, rasters, tools, values

PARTS = (tools, archives, models, observations, groups, rasters, formats, values)
KINDS = [kind for part in PARTS for kind in part.KINDS]
PAGE = Path(__file__).parents[4] / "docs" / "data.md"
HEAD = "| written by | file | taken as, or refused |\n|---|---|---|\n"


def rows_of_page() -> dict[tuple[str, str], str]:
    """What the page says of each kind: {(tool, file): outcome}."""
    table = PAGE.read_text().partition(HEAD)[2].partition("\n\n")[0]
    lines = [line.strip("|").split(" | ") for line in table.splitlines()]
    return {(tool.strip(), what): outcome.strip() for tool, what, outcome in lines}


def write_page() -> None:
    """Write each kind of file, read it, and replace the table."""
    rows = ""
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as folder:
            rows += f"| {kind.tool} | {kind.what} | {kind.outcome(Path(folder))} |\n"
    page = PAGE.read_text()
    PAGE.write_text(re.sub(re.escape(HEAD) + r"(\|.*\n)*", lambda _: HEAD + rows, page))


if __name__ == "__main__":
    write_page()
