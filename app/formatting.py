"""Numbers, sizes and ages as people read them."""

from __future__ import annotations

import html
import math
import re
import time

KINDS = {"local": "this machine", "ssh": "SSH", "slurm": "Slurm", "pbs": "PBS"}


def number(value: float | None, digits: int = 3) -> str:
    """A number with so many significant digits, '–' for none: 0.68213 → '0.682', 12345 → '12345'."""
    if value is None or not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    decimals = digits - 1 - math.floor(math.log10(abs(value)))
    if decimals > digits + 3:
        return f"{value:.{digits - 1}e}"
    return f"{value:.{max(decimals, 0)}f}"


def value_text(value: float, clim: tuple[float, float], units: str) -> str:
    """A value with four digits of a colour range: '281.34 K'; '–' for none."""
    if not math.isfinite(value):
        return "–"
    decimals = min(max(3 - math.floor(math.log10(max(abs(clim[1] - clim[0]), 1e-12))), 0), 8)
    return f"{value:.{decimals}f} {units}".strip()


def count(value: int | None) -> str:
    """A count with thin spaces between thousands: 123456 → '123 456'."""
    return "–" if value is None else f"{value:,}".replace(",", "\u202f")


def size(n_bytes: float | None) -> str:
    """1536 → '1.5 KiB'."""
    if n_bytes is None:
        return "–"
    for unit in ("bytes", "KiB", "MiB", "GiB", "TiB"):
        if n_bytes < 1024 or unit == "TiB":
            return f"{n_bytes:.0f} bytes" if unit == "bytes" else f"{number(n_bytes)} {unit}"
        n_bytes /= 1024
    return ""


def duration(seconds: float | None) -> str:
    """75 → '1 min 15 s', 7300 → '2 h 1 min'."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    whole = max(int(seconds), 0)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def span(since: float, now: float | None = None) -> str:
    """The time since a moment in its largest unit, so that it changes seldom: '3 min'; '' below a minute."""
    seconds = max((time.time() if now is None else now) - since, 0)
    for length, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return ""


def age(since: float, now: float | None = None) -> str:
    """Time since a moment: '3 min ago'."""
    passed = span(since, now)
    return f"{passed} ago" if passed else "just now"


def minute(stamp: str) -> str:
    """An ISO 8601 moment to the minute: '2019-03-14T06:00:00' → '2019-03-14 06:00'."""
    return stamp.replace("T", " ")[:16]


def site_label(name: str, kind: str) -> str:
    """Name and kind of a target: 'hpc · Slurm', 'local · this machine'."""
    return f"{name} · {KINDS.get(kind, kind)}"


def plain_text(text: str) -> str:
    """Escape text for Markdown, so that it is shown as it is."""
    return re.sub(r"([\\`*_{}\[\]<>#|~$&])", r"\\\1", text)


def table(rows: dict[str, str]) -> str:
    """Facts as an HTML table: names at the left, values at the right; both escaped."""
    cells = "".join(
        f"<tr><th scope='row'>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>"
        for name, value in rows.items()
    )
    return f"<table class='facts'>{cells}</table>"
