"""Runs that wait or run, on all sites: where, as which job, why they wait, since when."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from app import formatting
from app.components.run_table import Column
from app.components.run_text import clipped_html, state_html, title_html
from app.services.watcher import RunSnapshot
from engine.runs import RunState

COLUMNS = {
    "state": Column("State", 116, html=True),
    "title": Column("Title", 220, html=True),
    "place": Column("Runs on", 150),
    "job": Column("Job", 92),
    "reason": Column("Status", html=True),
    "since": Column("Since", 104, right=True, sortable=False),
}


def queue_table(seen: Sequence[RunSnapshot], shown: str = "") -> pd.DataFrame:
    """One row a run; `shown` is the id of the run shown below."""
    rows = [
        {
            "id": one.id,
            "state": state_html(one.status.state),
            "title": title_html(one, shown),
            "place": formatting.site_label(one.site.name, one.site.kind),
            "job": one.site.job or "–",
            "reason": clipped_html(doing(one)),
            "since": formatting.age(one.status.since) if one.status.since else "–",
        }
        for one in seen
    ]
    return pd.DataFrame(rows, columns=["id", *COLUMNS])


def doing(seen: RunSnapshot) -> str:
    """Progress of the training, or the reason in the words of whoever gave it."""
    latest = seen.latest
    if seen.status.state is RunState.RUNNING and latest.get("epochs") and not seen.site.fetching:
        return f"epoch {latest.get('epoch', 1)} of {latest['epochs']}"
    return seen.status.reason or seen.status.state
