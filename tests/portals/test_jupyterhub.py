"""The dashboard in a real JupyterHub with its proxy: from the launcher, and as a user's whole server."""

from __future__ import annotations

import re
import shutil
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, expect

from engine.data.demo import write_demo
from engine.runs import Run, Store
from tests.app.browser.conftest import HANG_S, VIEWPORT, Server, open_tab
from tests.app.browser.test_thread import choose_the_file, compare, design, watch_it_train
from tests.portals.installation import (
    Installation,
    answers,
    free_port,
    process,
    wait_until,
    websocket_answer,
)
from tests.portals.logins import cookies

pytestmark = [pytest.mark.browser, pytest.mark.cluster, pytest.mark.slow]
PASSWORD = "a password of the test"
CONFIGURATION = """
    c.JupyterHub.bind_url = "http://127.0.0.1:{port}"
    c.JupyterHub.hub_bind_url = "http://127.0.0.1:{hub_port}"
    c.ConfigurableHTTPProxy.command = ["{proxy}"]
    c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{proxy_port}"
    c.JupyterHub.db_url = "sqlite:///{folder}/hub.sqlite"
    c.JupyterHub.authenticator_class = "dummy"
    c.DummyAuthenticator.password = "{password}"
    c.Authenticator.allowed_users = {{"ada", "grace", "linus"}}
    c.JupyterHub.spawner_class = "simple"
    c.SimpleLocalProcessSpawner.home_dir_template = "{folder}/home/{{username}}"
    c.Spawner.environment = {{
        "PYTHONPATH": "{packages}",
        "MESOSCOPE_EXAMPLE": "off",
        "JUPYTERHUB_SINGLEUSER_APP": "jupyter_server.serverapp.ServerApp",
    }}
    c.Spawner.args = ["--allow-root"]  # as tests may run
    c.Spawner.start_timeout = c.Spawner.http_timeout = 180

    def choose(spawner):
        if spawner.user.name == "linus":  # the dashboard is the whole server, as docs/portals.md shows it
            spawner.args = []
            spawner.cmd = [
                "jupyter", "standaloneproxy", "--StandaloneProxyServer.unix_socket=True",
                "--StandaloneProxyServer.timeout=180", "--",
                "mesoscope", "--unix-socket", "{{unix_socket}}", "--root-path", "{{base_url}}",
            ]

    c.Spawner.pre_spawn_hook = choose
"""


@dataclass(frozen=True)
class Hub:
    """A running JupyterHub; users have their homes below `folder`."""

    url: str
    port: int
    folder: Path

    def home(self, user: str) -> Path:
        return self.folder / "home" / user

    def store(self, user: str) -> Path:
        return self.home(user) / ".local" / "share" / "mesoscope" / "runs"

    def dashboard(self, user: str, path: str = "mesoscope/app") -> Server:
        """What the browser's tests call a server: the dashboard of that user."""
        return Server(f"{self.url}/user/{user}/{path}", self.port, self.store(user), self.home(user))


@pytest.fixture(scope="module")
def hub(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    proxy = shutil.which("configurable-http-proxy")
    assert proxy, "configurable-http-proxy is missing: npm install --global configurable-http-proxy@4.6.3"
    folder, port = tmp_path_factory.mktemp("jupyterhub"), free_port()
    places = {"folder": folder, "packages": installation.folder, "proxy": proxy, "password": PASSWORD}
    ports = {"port": port, "hub_port": free_port(), "proxy_port": free_port()}
    configuration = folder / "jupyterhub_config.py"
    configuration.write_text(textwrap.dedent(CONFIGURATION).format(**places, **ports))
    command, log = [sys.executable, "-m", "jupyterhub", "--config", str(configuration)], folder / "log"
    with process(command, installation.environment(folder), folder, log) as started:
        url = f"http://127.0.0.1:{port}"
        wait_until(answers(f"{url}/hub/login"), started, log)
        yield Hub(url, port, folder)


@contextmanager
def logged_in(hub: Hub, user: str, chromium: Browser, path: str = "mesoscope/") -> Iterator[BrowserContext]:
    """A browser of that user, whose dashboard has started."""
    context = chromium.new_context(viewport=VIEWPORT)
    context.set_default_timeout(HANG_S * 1000)
    page = context.new_page()
    page.goto(f"{hub.url}/hub/login?next=/hub/spawn/{user}")
    page.locator("input[name=username]").fill(user)
    page.locator("input[name=password]").fill(PASSWORD)
    page.locator("[type=submit]").click()
    page.wait_for_url(re.compile(rf"{hub.url}/user/{user}/"))
    page.goto(f"{hub.url}/user/{user}/{path}")  # with the detour of its login
    page.close()
    yield context
    context.close()


def test_the_whole_thread_and_a_second_user_who_sees_nothing_of_it(hub, chromium):
    dashboard = hub.dashboard("ada")
    with logged_in(hub, "ada", chromium) as context:
        shown_in_launcher(hub, context)
        write_demo(dashboard.data, days=20, size=(32, 32))
        with open_tab(dashboard, context) as tab:
            choose_the_file(tab)
            design(tab.page)
            with tab.page.expect_download() as download:
                tab.page.get_by_role("button", name="Download YAML").click()
            assert "no2_regional.nc" in download.value.path().read_text()
            tab.page.get_by_role("button", name="Train").click()
            run = watch_it_train(tab)
            compare(tab, run)
        own = [hub.url, "http://evil.example.org", f"http://127.0.0.1:{hub.port + 1}"]
        known = cookies(context, dashboard.url)
        assert [websocket_answer(dashboard.url, origin, known) for origin in own] == [101, 403, 403]
        assert websocket_answer(dashboard.url, hub.url) == 403
    with logged_in(hub, "grace", chromium) as context:
        sees_nothing_of(run, hub, context)


def shown_in_launcher(hub: Hub, context: BrowserContext) -> None:
    listed = context.request.get(f"{hub.url}/user/ada/server-proxy/servers-info").json()["server_processes"]
    (entry,) = [process for process in listed if process["name"] == "mesoscope"]
    assert entry["launcher_entry"]["title"] == "Mesoscope"
    icon = context.request.get(f"{hub.url}/user/ada/server-proxy/icon/mesoscope")
    assert icon.text().lstrip().startswith("<svg")


def sees_nothing_of(run: Run, hub: Hub, context: BrowserContext) -> None:
    """Neither in the list of runs, nor by the run's link, nor at the other's address."""
    with open_tab(hub.dashboard("grace"), context) as tab:
        tab.open("?page=runs")
        expect(tab.page.get_by_text("No run").first).to_be_visible()
        tab.open(f"?page=compare&runs={run.id}")
        expect(tab.page.get_by_text("No run to compare")).to_be_visible()
    assert Store(hub.store("grace")).runs() == []
    others = hub.dashboard("ada").url
    assert context.request.get(others).status == 403
    assert websocket_answer(others, hub.url, cookies(context, others)) == 403


def test_the_dashboard_as_the_whole_server_of_a_user(hub, chromium):
    dashboard = hub.dashboard("linus", "app")
    with logged_in(hub, "linus", chromium, path="") as context, open_tab(dashboard, context) as tab:
        tab.page.goto(f"{hub.url}/user/linus/")
        tab.page.wait_for_url(dashboard.url)
        page = tab.open("?page=runs")
        expect(page.get_by_role("tab", name="Runs")).to_have_attribute("aria-selected", "true")
        known = cookies(context, dashboard.url)
        origins = [hub.url, "http://evil.example.org"]
        assert [websocket_answer(dashboard.url, origin, known) for origin in origins] == [101, 403]
