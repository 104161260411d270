"""A table of runs: cells that changed are patched, so that nothing jumps while runs go on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import panel as pn

from app.theme import TABLE_CSS

HEAD_HEIGHT, ROW_HEIGHT, MOST_HEIGHT = 52, 38, 300
HTML = {"type": "html"}
LEAST_WIDTH = 64  # px, of a column


@dataclass(frozen=True)
class Column:
    """One column; its width is in pixels or a share of the table ('15%'), or 0 for what the others leave."""

    title: str
    width: int | str = 0
    html: bool = False
    right: bool = False
    sortable: bool = True


class RunTable:
    """One row a run, by id; a click calls `choose` with the id.

    `view` holds the table once there are rows: a table that the browser is still building can't take its first ones.
    """

    def __init__(
        self, columns: Mapping[str, Column], choose: Callable[[str], None], hidden: Sequence[str] = (), **layout: Any
    ):
        self._names = list(columns)
        self.rows = pd.DataFrame(columns=["id", *columns])
        right = {name: "right" for name, column in columns.items() if column.right}
        self.widget = pn.widgets.Tabulator(
            self.rows,
            titles={name: column.title for name, column in columns.items()},
            hidden_columns=["id", *hidden],
            formatters={name: HTML for name, column in columns.items() if column.html},
            text_align=right,
            header_align=right,
            widths={name: column.width for name, column in columns.items() if column.width},
            sortable={name: column.sortable for name, column in columns.items()},
            **{**LAYOUT, **layout},
        )
        self.view = pn.Column(sizing_mode="stretch_width", margin=0)
        self.widget.on_click(lambda event: choose(str(self.rows["id"].iloc[event.row])))

    @property
    def ids(self) -> list[str]:
        return list(self.rows["id"])

    def show(self, rows: pd.DataFrame) -> None:
        """Patch the cells that changed; a new list of runs is a new table."""
        if list(rows["id"]) != self.ids:
            self.rows = rows
            self.widget.param.update(value=rows.copy(), height=min(HEAD_HEIGHT + ROW_HEIGHT * len(rows), MOST_HEIGHT))
            if not self.view.objects:
                self.view.append(self.widget)
            return
        patch: dict[str, list[tuple[int, Any]]] = {}
        for column in self._names:
            pairs = enumerate(zip(self.rows[column], rows[column], strict=True))
            if cells := [(i, new) for i, (old, new) in pairs if old != new]:
                patch[column] = cells
        if patch:
            self.widget.patch(patch)
            self.rows = rows


LAYOUT: dict[str, object] = {
    "show_index": False,
    "pagination": None,  # rows are drawn as they scroll into view, however many there are
    "disabled": True,
    "height": 270,
    "sizing_mode": "stretch_width",
    "stylesheets": [TABLE_CSS],
    "layout": "fit_columns",
    "margin": 0,
    "configuration": {"columnDefaults": {"headerSortTristate": True, "minWidth": LEAST_WIDTH}},
}
