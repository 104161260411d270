"""The dashboard behind a real nginx, with the configuration that the documents show."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext

from engine.data.demo import write_demo
from tests.app.browser.conftest import VIEWPORT, Server, open_tab
from tests.app.browser.test_thread import from_the_file_to_the_comparison
from tests.portals.installation import CHECKOUT, Installation, answers, free_port, process, wait_until, websocket_answer
from tests.portals.logins import cookies, log_in
from tests.portals.reverse_proxy import nginx

pytestmark = [pytest.mark.browser, pytest.mark.cluster, pytest.mark.slow]
PASSWORD = "correct Horse"


@pytest.fixture(scope="module")
def server(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """nginx and the dashboard behind it, each on a free port."""
    folder, port, inner = tmp_path_factory.mktemp("nginx"), free_port(), free_port()
    text = (CHECKOUT / "packaging" / "nginx" / "mesoscope.conf").read_text()
    locations = text.replace("http://127.0.0.1:5006", f"http://127.0.0.1:{inner}")
    places = {"MESOSCOPE_STORE": folder / "runs", "MESOSCOPE_DATA": folder / "data"}
    environment = installation.environment(
        folder, MESOSCOPE_PASSWORD=PASSWORD, **{name: str(place) for name, place in places.items()}
    )
    command = installation.command(
        "mesoscope", "--port", str(inner), "--prefix", "/mesoscope", "--origin", f"127.0.0.1:{port}"
    )
    log, url = folder / "log", f"http://127.0.0.1:{port}/mesoscope"
    with (
        nginx(folder, port, locations),
        process(command, environment, folder, log) as dashboard,
    ):
        wait_until(answers(f"{url}/"), dashboard, log)
        write_demo(folder / "data", days=20, size=(32, 32))
        yield Server(f"{url}/app", port, places["MESOSCOPE_STORE"], places["MESOSCOPE_DATA"], dashboard)


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    context = chromium.new_context(viewport=VIEWPORT)
    yield context
    context.close()


def test_a_wrong_password_opens_nothing(server, context):
    address = log_in(context, server.url, "wrong")
    assert address.startswith(server.url.removesuffix("/app") + "/login")


def test_websockets_are_opened_from_that_host_alone_and_after_the_password(server, context):
    log_in(context, server.url, PASSWORD)
    known = cookies(context, server.url)
    own = server.url.removesuffix("/mesoscope/app")
    origins = [
        own,
        "http://evil.example.org",
        f"http://127.0.0.1:{server.port + 1}",
        own.replace("127.0.0.1", "localhost"),
    ]
    assert [websocket_answer(server.url, origin, known) for origin in origins] == [101, 403, 403, 403]
    assert websocket_answer(server.url, own) == 403


def test_from_a_file_to_the_comparison_below_the_prefix(server, context):
    link = f"{server.url}?page=runs"
    assert log_in(context, link, PASSWORD) == link
    with open_tab(server, context) as tab:
        link = from_the_file_to_the_comparison(tab)
    assert link.startswith(f"{server.url}?page=compare")
