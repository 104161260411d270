"""Power and coherence by wavelength: at which scales the products are near HR."""

from __future__ import annotations

import html
from functools import partial
from typing import Any

import panel as pn
import panel_material_ui as pmui

from app.components.cards import card, explanation, heading, show_newest
from app.plots.lines import line_figure
from app.plots.spectra import radial_spectra
from app.services.conditions import Selection
from app.services.newest import Newest
from app.services.verification import SPECTRA, missing_reason, resolution_text, spectra
from app.session import Session

HEIGHT = 250
SENTENCES = {
    "power": "Below HR, detail of that size is missing; above, there is too much of it.",
    "coherence": "How far detail of that size is where HR has it: 1 is perfect, below 0.5 most of it is not.",
}
DEFINITIONS = {
    "power": "Mean |F|² of the waves of one length, over test steps; F is the Fourier transform of the field.",
    "coherence": "(Σ Re F_f F_o*)² / (Σ|F_f|² Σ|F_o|²) over the waves of one length, f the product and o HR.",
}
RESOLUTION = " Effective resolution: the wavelength at which the power over that of HR, or coherence, falls below 0.5."


class SpectraCard:
    """Follows `spectrum` of the session."""

    def __init__(self, session: Session):
        self.session, self._drawing = session, Newest()
        self._selection: Selection | None = None
        self._kind = pmui.RadioButtonGroup(options=SPECTRA, value=session.spectrum, size="small", margin=0)
        self._title = heading("Spectra", "by wavelength")
        head = pn.Row(self._title, self._kind, sizing_mode="stretch_width", margin=0)
        self._body = pn.Column(sizing_mode="stretch_width", min_height=HEIGHT + 50, margin=0)
        self.view = card(head, self._body)
        self._kind.link(session, value="spectrum", bidirectional=True)
        session.param.watch(lambda *_: pn.state.execute(self.draw), ["spectrum", "dark"])

    async def take(self, selection: Selection) -> None:
        """Follow other runs, or other steps."""
        self._selection = selection
        await self.draw()

    async def draw(self) -> None:
        """Read and draw in a thread, then show."""
        if self._selection is not None:
            read = partial(self._parts, self._selection)
            await show_newest(self._drawing, read, partial(self._show, self._selection))

    def _show(self, selection: Selection, parts: list[Any]) -> None:
        fact = "by wavelength, of all cells" if selection.of_cells else "by wavelength"
        self._title.object = heading("Spectra", fact).object
        self._body.objects = parts

    def _parts(self, selection: Selection) -> list[Any]:
        """The figure, or the words that stand in its place, and the effective resolutions."""
        comparison, kind = selection.comparison, self.session.spectrum
        if reason := missing_reason(comparison) or selection.empty:
            return [_text(reason)]
        found = spectra(selection, kind)
        parts: list[Any] = [_text(f"No spectrum of {letter}: {why}.") for letter, why in found.left_out.items()]
        if not found.curves:
            return parts
        figure = line_figure(
            radial_spectra(found.curves, kind, comparison.first.units, self.session.dark), height=HEIGHT
        )
        return [
            explanation(SENTENCES[kind], DEFINITIONS[kind] + RESOLUTION),
            pn.pane.Bokeh(figure, sizing_mode="stretch_width", margin=0),
            _text(f"Effective resolution: {resolution_text(found.resolution)}."),
            *parts,
        ]


def _text(words: str) -> pn.pane.HTML:
    styles = {"font-size": "12.5px", "overflow-wrap": "anywhere"}
    return pn.pane.HTML(html.escape(words), sizing_mode="stretch_width", margin=(4, 0, 0, 0), styles=styles)
