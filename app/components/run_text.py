"""Text about one run, for tables and the detail: state, progress, reason, advice, settings."""

from __future__ import annotations

import html

from app import formatting
from app.services.run_selection import gain
from app.services.watcher import RunSnapshot
from engine.runs import ExitKind, RunState, Stage


def state_html(state: RunState) -> str:
    return f"<span class='state {state}'><i></i>{state}</span>"


def title_html(seen: RunSnapshot, shown: str) -> str:
    """Title, in bold for the run that is shown, and tags."""
    title = html.escape(seen.title)
    tags = "".join(f" <span class='tag'>{html.escape(tag)}</span>" for tag in seen.notes.tags)
    return (f"<b class='shown'>{title}</b>" if seen.id == shown else title) + tags


def clipped_html(text: str) -> str:
    """Text that a narrow column cuts, whole when pointed at."""
    return f"<span title='{html.escape(text)}'>{html.escape(text)}</span>"


def epoch_html(seen: RunSnapshot) -> str:
    """A bar for the share of the training that is done, and '12/40' on it."""
    latest = seen.latest
    text = f"{latest['epoch']}/{latest['epochs']}" if latest.get("epochs") and "epoch" in latest else ""
    return f"<div class='share'><i style='width: {100 * seen.share:.0f}%'></i><span>{text}</span></div>"


def gain_of(seen: RunSnapshot) -> str:
    """Share of the interpolation's RMSE that the network takes away: '−36 %'."""
    share = gain(seen)
    return "–" if share is None else f"{100 * share:+.0f} %".replace("-", "−")


def status_text(seen: RunSnapshot) -> str:
    """Beside the state: how far the training is, or why the run is in that state, and whether it is to stop."""
    is_stopping = seen.site.cancelling and seen.status.state.may_be_active
    return " · ".join(filter(None, ["stopping" if is_stopping else "", _progress_or_reason(seen)]))


def _progress_or_reason(seen: RunSnapshot) -> str:
    latest, reason = seen.latest, seen.status.reason
    match seen.status.state:
        case RunState.UNKNOWN:
            return unknown_since(seen)
        case RunState.RUNNING if latest.get("epochs") and not seen.site.fetching:
            eta = latest.get("eta_s")
            left = f" · {formatting.duration(eta)} left" if eta else ""
            speed = f" · {formatting.number(latest['samples_per_s'])} samples/s" if latest.get("samples_per_s") else ""
            return f"epoch {latest.get('epoch', 1)} of {latest['epochs']}{speed}{left}"
        case RunState.DONE:
            gain = gain_of(seen)
            return f"RMSE {gain} against the interpolated field" if gain != "–" else ""
        case RunState.QUEUED if seen.status.since and (waited := formatting.span(seen.status.since)):
            return f"for {waited} · {reason}" if reason else f"for {waited}"
        case RunState.FAILED:  # said in full below
            return ""
    return reason


def unknown_since(seen: RunSnapshot) -> str:
    """Explain that nothing is known, since when and why; the run itself may continue."""
    since = formatting.span(seen.status.since) if seen.status.since else ""
    parts = [f"since {since}" if since else "", "" if seen.fault else "the run itself goes on", seen.status.reason]
    return " · ".join(filter(None, parts))


def failure_advice(seen: RunSnapshot) -> str:
    """The reason of a failure, and what to do next."""
    reason = (seen.status.reason or "it ended without a message").rstrip(" .:")
    if seen.site.stage is Stage.REFUSED:
        return f"{reason}\n\nResume submits it again, once that is fixed."
    if seen.status.exit is ExitKind.DIED:  # the reason includes it
        return reason
    if seen.site.kind != "local":
        return f"{reason}.\n\nResume starts it again there, from its last checkpoint if it wrote one."
    if seen.run.last.exists():
        return f"{reason}.\n\nResume continues from the last checkpoint; see the log below."
    return f"{reason}.\n\nChange it with 'Clone settings' and train again; see the log below."


def facts_of(seen: RunSnapshot) -> dict[str, str]:
    """Progress and results of a run, as rows of a table."""
    latest = seen.latest
    rows = {"Epoch": f"{latest.get('epoch', '–')} of {latest.get('epochs', '–')}"} if latest else {}
    rows["Training loss"] = formatting.number(latest.get("loss"), 4)
    rows["Validation loss"] = formatting.number(seen.val_loss, 4)
    rows["Throughput"] = f"{formatting.number(latest.get('samples_per_s'))} samples/s"
    rows["Learning rate"] = formatting.number(latest.get("learning_rate"))
    rows["Elapsed"] = formatting.duration(latest.get("elapsed_s"))
    if seen.status.state.is_active:
        rows["Time left"] = formatting.duration(latest.get("eta_s"))
    for product in ("downscaled", "interpolated"):
        if (rmse := seen.rmse(product)) is not None:
            rows[f"RMSE {product}"] = formatting.number(rmse, 4)
    rows["Runs on"] = formatting.site_label(seen.site.name, seen.site.kind)
    if seen.site.job:
        rows["Process ID" if seen.site.kind == "ssh" else "Job"] = seen.site.job
    return {**rows, "Run": seen.id, "Folder": str(seen.run.folder)}
