"""Taylor diagram of the compared runs and the simple methods, and its numbers."""

from __future__ import annotations

import html
from functools import partial

import panel as pn

from app.components.cards import card, explanation, heading, show_newest
from app.components.score_card import TABLE_CSS, badge
from app.plots.taylor import taylor_diagram
from app.services.conditions import Selection
from app.services.newest import Newest
from app.services.verification import taylor_points, taylor_reason
from app.session import Session

SENTENCE = "How far products vary as HR does: the nearer to the star, the better."
DEFINITION = (
    "Over all compared values of the domain, weighted by area: the distance from the origin is the standard deviation "
    "over that of HR, the angle the correlation r with HR (its lines are labelled), and the distance from the star "
    "(dashed circles) the root-mean-square error without bias, over the standard deviation of HR. Taylor (2001)."
)


class TaylorCard:
    """Taylor diagram of the chosen steps, and its numbers."""

    def __init__(self, session: Session):
        self.session, self._drawing = session, Newest()
        self._selection: Selection | None = None
        self._body = pn.FlexBox(sizing_mode="stretch_width", min_height=250, margin=0, gap="0 16px")
        self.view = card(heading("Taylor diagram"), explanation(SENTENCE, DEFINITION), self._body)
        session.param.watch(lambda *_: pn.state.execute(self.draw), "dark")

    async def take(self, selection: Selection) -> None:
        """Follow other runs, or other steps."""
        self._selection = selection
        await self.draw()

    async def draw(self) -> None:
        """Read and draw in a thread, then show."""
        if self._selection is not None:
            read = partial(_parts, self._selection, self.session.dark)
            await show_newest(self._drawing, read, lambda parts: self._body.param.update(objects=parts))


def _parts(selection: Selection, dark: bool) -> list[pn.viewable.Viewable]:
    """The figure and its numbers, or the words that stand in their place."""
    comparison = selection.comparison
    if reason := taylor_reason(comparison) or selection.empty:
        return [_text(reason)]
    points = taylor_points(selection)
    if not points:
        return [_text("There is no correlation: HR is constant.")]
    names = comparison.names
    labels = {key: badge(key, names[key]) if len(key) == 1 else html.escape(names[key]) for key in points}
    rows = "".join(
        f'<tr><th class="row_heading">{labels[key]}</th><td>{ratio:.3f}</td><td>{correlation:.4f}</td></tr>'
        for key, (ratio, correlation) in points.items()
    )
    steps = html.escape(selection.text or "all steps")
    heads = f"<thead><tr><td>{steps}</td><th>σ / σ of HR</th><th>correlation</th></tr></thead>"
    place = 'class="scroll" tabindex="0" role="group" aria-label="Table of the Taylor diagram"'
    table = f'<div {place}><table aria-label="Taylor diagram">{heads}<tbody>{rows}</tbody></table></div>'
    return [
        pn.pane.Bokeh(taylor_diagram(points, names, dark), margin=0),
        pn.pane.HTML(table, stylesheets=[TABLE_CSS], margin=0, styles={"flex": "1 1 240px", "min-width": "0"}),
    ]


def _text(words: str) -> pn.pane.HTML:
    styles = {"overflow-wrap": "anywhere", "flex": "1 1 240px"}
    return pn.pane.HTML(f"<p>{html.escape(words)}</p>", stylesheets=[TABLE_CSS], margin=0, styles=styles)
