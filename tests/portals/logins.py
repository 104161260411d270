"""The page that asks for the password, and what a browser holds afterwards."""

from __future__ import annotations

from playwright.sync_api import BrowserContext


def log_in(context: BrowserContext, url: str, password: str) -> str:
    """Type the password into the page that asks for it; returns the address that comes of it."""
    page = context.new_page()
    page.goto(url)
    page.locator("input[name=username]").fill("anyone")
    page.locator("input[name=password]").fill(password)
    page.locator("[type=submit]").click()
    page.wait_for_load_state()
    address = page.url
    page.close()
    return address


def cookies(context: BrowserContext, url: str) -> str:
    """Cookies that the browser would send there, as a header."""
    return "; ".join(f"{cookie['name']}={cookie['value']}" for cookie in context.cookies(url))
