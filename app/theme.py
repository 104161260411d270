"""Colours and densities: quiet surfaces, one accent colour; the maps carry the colour."""

from __future__ import annotations

from typing import Any

from engine.assets import ASSETS


def read_asset(name: str) -> str:
    """Text of a style sheet or script in assets/."""
    return (ASSETS / name).read_text(encoding="utf-8")


PAGE_CSS = read_asset("page.css") + read_asset("state.css")
TABLE_CSS = read_asset("table.css") + read_asset("state.css")
ACCENT = {"light": "#0b6b8a", "dark": "#63b8d1"}
SURFACE = {"light": "#ffffff", "dark": "#171b20"}
GROUND = {"light": "#f5f6f8", "dark": "#101317"}
LINE = {"light": "#dfe3e8", "dark": "#2b3138"}
INK = {"light": "#1d242b", "dark": "#e4e8ec"}
FAINT = {"light": "#5a6672", "dark": "#9aa5b1"}


def _palette(mode: str) -> dict[str, object]:
    return {
        "primary": {"main": ACCENT[mode], "contrastText": "#ffffff" if mode == "light" else "#06222b"},
        "background": {"default": GROUND[mode], "paper": SURFACE[mode]},
        "divider": LINE[mode],
        "text": {"primary": INK[mode], "secondary": FAINT[mode]},
    }


FOCUS = {"&.Mui-focusVisible": {"outline": "2px solid #2a93b5", "outlineOffset": "2px"}}  # fits both modes
FOCUSED = {"MuiButtonBase": "root", "MuiSlider": "thumb"}


def _theme(mode: str) -> dict[str, object]:
    return {
        "palette": _palette(mode),
        "typography": {
            "fontSize": 13,
            "h1": {"fontSize": "1.35rem", "fontWeight": 600},
            "h2": {"fontSize": "1.05rem", "fontWeight": 600, "letterSpacing": "0.01em"},
            "h3": {"fontSize": "1rem", "fontWeight": 600},
            "button": {"textTransform": "none", "fontWeight": 600},
        },
        "shape": {"borderRadius": 6},
        "components": {name: {"styleOverrides": {slot: FOCUS}} for name, slot in FOCUSED.items()},
    }


THEME: dict[str, object] = {"light": _theme("light"), "dark": _theme("dark")}

PAGE_SX: dict[str, object] = {
    "& .MuiAppBar-root": {
        "backgroundColor": "background.paper",
        "backgroundImage": "none",
        "color": "text.primary",
        "boxShadow": "none",
        "borderBottom": "1px solid",
        "borderColor": "divider",
    },
    "& .MuiAppBar-root .title": {"color": "text.primary", "display": {"xs": "none", "sm": "block"}},
    "& .MuiToolbar-root": {"minHeight": {"xs": 50}},  # the header's, and the one below it that keeps its place free
    "& .MuiAppBar-root .MuiToolbar-root": {"paddingLeft": {"xs": 1, "sm": 3}, "paddingRight": {"xs": 1, "sm": 3}},
    "& .MuiAppBar-root .logo": {"height": "1.9em !important"},
    "& main": {"backgroundColor": "background.default"},
}

# In a header the theme's colours are inverted: what is inherited fits both modes.
MENU_SX: dict[str, object] = {
    "& .MuiTab-root": {
        "color": "inherit",
        "opacity": 0.75,
        "minWidth": {"xs": 56, "sm": 84},
        "minHeight": 50,
        "padding": {"xs": "8px", "sm": "8px 16px"},
    },
    "& .MuiTab-root.Mui-selected": {"color": "inherit", "opacity": 1},
    "& .MuiTabs-indicator": {"backgroundColor": "#2a93b5", "height": "3px"},
}

SMALL: dict[str, Any] = {"size": "small", "margin": 0}
OUTLINED: dict[str, Any] = {**SMALL, "variant": "outlined"}  # quiet buttons
DENSE: dict[str, object] = {"& p": {"margin": 0}}  # alerts of one paragraph
BORDERED: dict[str, object] = {"border": "1px solid", "borderColor": "divider"}
