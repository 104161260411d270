"""Names and colours of what is compared: the same product in the same colour on every page."""

from __future__ import annotations

NAMES = {"lr": "LR", "interpolated": "interpolated", "hr": "HR"}
# For runs after Okabe & Ito (2008), the first four distinct for any colour vision; HR takes the page's ink.
COLOURS = {
    "lr": "#9aa5b1", "interpolated": "#8c7aa9", "observed": "#c2334d",
    "A": "#0a84b5", "B": "#d9622b", "C": "#159b73", "D": "#c4579a",
    "E": "#b98900", "F": "#4f5bd5", "G": "#8a4b2a", "H": "#5f8f2f",
}  # fmt: skip
INK = {False: "#1d242b", True: "#e4e8ec"}


def colour_of(product: str, dark: bool = False) -> str:
    """The colour of a product, or of a run by its letter."""
    return COLOURS.get(product, INK[dark])


def name_of(product: str) -> str:
    """Name of a product on a map; a run's letter stays a letter."""
    return NAMES.get(product, product)
