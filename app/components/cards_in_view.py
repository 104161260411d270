"""Cards that are built and drawn when they come into view, and follow what they show while they are."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import panel as pn
import param
from panel.custom import JSComponent

from app.components.cards import heading
from app.theme import ASSETS

PLACE = 340  # px: about the height of a card, so that those below stay out of view until it is scrolled to
AT_ONCE = 2  # cards that are drawn at the same time
Draw = Callable[[], Awaitable[object]]


class InView(JSComponent):
    """Invisible; lists the parts of the page that are in view, by a name among the tags of their views."""

    _esm = ASSETS / "in_view.js"

    names = param.List(default=[], item_type=str, doc="Names of the parts, each a tag of its view.")
    in_view = param.List(default=[], item_type=str, doc="Those that are in view, or soon will be.")
    stale = param.List(
        default=[], item_type=str, doc="Those that are faint, but not by css_classes, as Bokeh lays out all for each."
    )

    def __init__(self, **given: Any):
        super().__init__(**{"width": 0, "height": 0, "margin": 0, **given})


class CardsInView:
    """Draws each card once it is in view, and again after `request` as soon as it is; until then it is dimmed.

    A card that was never in view is its title alone. Without a browser, all cards are in view.

    cards : title → view.
    """

    def __init__(self, cards: Mapping[str, pn.Column]):
        self._cards = cards
        self._contents = {title: list(view) for title, view in cards.items()}  # of those never drawn
        self._due: dict[str, Draw] = {}
        self._drawing = asyncio.Semaphore(AT_ONCE)
        for title, view in cards.items():
            view.param.update(tags=[title], objects=[heading(title)], min_height=PLACE)
        self.observer = InView(names=list(cards))
        self.observer.param.watch(lambda _: pn.state.execute(self._draw_due), "in_view")

    async def request(self, draws: Mapping[str, Draw]) -> None:
        """Draw cards anew, by their titles: those in view now, the others when they come into view."""
        self._due = dict(draws)
        seen = [title for title in draws if title not in self._contents]
        self.observer.stale = [title for title in seen if not self._is_in_view(title)]
        await self._draw_due()

    def _is_in_view(self, title: str) -> bool:
        return pn.state.curdoc is None or title in self.observer.in_view

    async def _draw_due(self) -> None:
        first, *others = self._cards  # the others don't take its time: it is what is seen first
        for titles in ([first], others):
            await asyncio.gather(*(self._draw(title, self._due[title]) for title in titles if title in self._due))

    async def _draw(self, title: str, draw: Draw) -> None:
        async with self._drawing:
            if self._due.get(title) is not draw or not self._is_in_view(title):
                return  # another choice was made meanwhile, or it is out of view again
            del self._due[title]
            await draw()
            # After it: parts that aren't on the page yet are filled without a message for each change.
            pn.state.execute(partial(self._place, title), schedule=True)

    def _place(self, title: str) -> None:
        """Put a card's parts in the place of its title at its first sight; its values are those of now."""
        view, contents = self._cards[title], self._contents.pop(title, None)
        with pn.io.hold(freeze=contents is not None):
            if contents is not None:
                view.param.update(objects=contents, min_height=None)
            self.observer.stale = [other for other in self.observer.stale if other != title]
