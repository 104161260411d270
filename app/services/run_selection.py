"""Which runs a list shows, and in which order: pure functions of their snapshots."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from app.services.watcher import RunSnapshot
from app.session import Listed
from engine.runs import RunState


def gain(seen: RunSnapshot) -> float | None:
    """RMSE of the downscaled field against that of the interpolated one, less 1: -0.36 is 36 % less."""
    mine, base = seen.rmse("downscaled"), seen.rmse("interpolated")
    return mine / base - 1 if mine and base else None


Key = float | str | None
ORDERS: dict[str, Callable[[RunSnapshot], Key]] = {
    "newest": lambda seen: 0.0,  # as the watcher has them
    "oldest": lambda seen: seen.id,  # which begins with its time
    "title": lambda seen: seen.title.casefold(),
    "state": lambda seen: list(RunState).index(seen.status.state),
    "RMSE": lambda seen: seen.rmse("downscaled"),
    "gain": gain,
    "validation loss": lambda seen: seen.val_loss,
}


def select_runs(
    seen: Sequence[RunSnapshot], listed: Listed, words: str = "", order: str = "newest"
) -> list[RunSnapshot]:
    """Snapshots of the runs listed that hold all of the words, in order; those without a value for it come last.

    words : sought in title, tags, note, state, site, data and id; case doesn't matter.
    """
    if listed is Listed.QUEUE:
        found = [one for one in seen if one.status.state.may_be_active and not one.fault]
        # What runs first, then what waits, the longest first.
        return sorted(found, key=lambda one: (one.status.state is RunState.QUEUED, one.status.since or 0.0))
    wanted = words.casefold().split()
    found = [one for one in seen if one.notes.archived is (listed is Listed.ARCHIVED) and _has_words(one, wanted)]
    key = ORDERS[order]
    valued = [one for one in found if key(one) is not None]
    return sorted(valued, key=key) + [one for one in found if key(one) is None]  # type: ignore[arg-type]


def _has_words(seen: RunSnapshot, wanted: Sequence[str]) -> bool:
    texts = (seen.title, *seen.notes.tags, seen.notes.note, seen.status.state, seen.site.name, seen.target, seen.id)
    text = "\n".join(texts).casefold()
    return all(word in text for word in wanted)
