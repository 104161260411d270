"""The end of what a page does by itself, without a browser."""

from __future__ import annotations

import asyncio


async def settled() -> None:
    """Wait until no other task of the running loop is left, those that tasks begin included."""
    await asyncio.sleep(0)
    while others := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(others)
