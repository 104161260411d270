"""The cache of remote data on the Data page: how much it holds, and a button that empties it."""

from __future__ import annotations

import asyncio

import panel as pn
import panel_material_ui as pmui

from app.formatting import plain_text
from engine.data import disk_cache


class CacheLine:
    """Hidden while nothing is cached."""

    def __init__(self) -> None:
        self.text = pmui.Typography("", variant="caption", color="text.secondary", margin=0)
        self.button = pmui.Button(label="Empty the cache", variant="text", size="small", margin=0)
        self.button.on_click(self._empty)
        self.view = pn.FlexBox(
            self.text, self.button, gap="0 8px", align_items="center", margin=(8, 0, 0, 0), visible=False,
            sizing_mode="stretch_width",
        )  # fmt: skip

    async def refresh(self) -> None:
        self._show(await asyncio.to_thread(disk_cache.state))

    async def _empty(self, _: object) -> None:
        self.button.loading = True
        try:
            await asyncio.to_thread(disk_cache.empty)
        except OSError as error:
            self.text.object = plain_text(f"the cache can't be emptied ({error.strerror or error})")
        else:
            await self.refresh()
        finally:
            self.button.loading = False

    def _show(self, state: disk_cache.CacheState) -> None:
        text = str(state)
        self.text.object = plain_text(text[:1].upper() + text[1:])
        self.view.visible = bool(state.entries)
