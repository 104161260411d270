"""The Open OnDemand app: its templates are rendered with Ruby, and its script is run as a job's would be."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import yaml
from playwright.sync_api import Browser, expect

from tests.app.browser.conftest import VIEWPORT, Server, open_tab
from tests.portals.installation import CHECKOUT, Installation, answers, free_port, process, wait_until, websocket_answer
from tests.portals.logins import cookies, log_in
from tests.portals.reverse_proxy import nginx

APP = CHECKOUT / "packaging" / "ondemand"
# Values are methods in views and submit files, and of `context` in the template folder.
RENDER = """
require "erb"; require "json"; require "ostruct"
values = OpenStruct.new(JSON.parse(ARGV[1])).tap { |own| own.context = OpenStruct.new(JSON.parse(ARGV[1])) }
puts ERB.new(File.read(ARGV[0]), trim_mode: "-").result(values.instance_eval { binding })
"""
# Of Open OnDemand's `basic` template: where it sources and starts what.
JOB = """
find_port() { echo PORT; }
create_passwd() { tr -cd 'a-zA-Z0-9' < /dev/urandom | head -c "${1:-8}"; }
export host=127.0.0.1
source before.sh
(umask 077; printf 'host: %s\\nport: %s\\npassword: %s\\n' "$host" "$port" "$password" > connection.yml)
exec ./script.sh
"""
# Open OnDemand's /node/HOST/PORT hands the whole path on.
NODE = """
    location = /view.html { root $folder; }
    location ~ ^/node/127\\.0\\.0\\.1/(?<node_port>\\d+)(/|$) {
        proxy_pass http://127.0.0.1:$node_port;
        proxy_http_version 1.1;
        proxy_set_header Host $http_host;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection "upgrade";
    }
"""


def render(name: str, values: dict[str, Any]) -> str:
    ruby = shutil.which("ruby")
    assert ruby, "ruby is missing: apt-get install ruby"
    command = [ruby, "-e", RENDER, str(APP / name), json.dumps(values)]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


@dataclass(frozen=True)
class Session:
    """A session of a user in the portal: its dashboard, and what the portal knows of it."""

    server: Server
    portal: str
    connection: dict[str, Any]


@pytest.fixture(scope="module")
def session(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    folder, portal_port = tmp_path_factory.mktemp("ondemand"), free_port()
    fixed = yaml.safe_load((APP / "form.yml").read_text())["attributes"]
    targets = folder / "targets.yaml"
    targets.write_text("version: 1\ntargets: {local: {}}\n")
    context = {**fixed, "portal_host": f"127.0.0.1:{portal_port}", "prelude": "true", "targets_file": str(targets)}
    job = folder / "job"
    job.mkdir()
    for name in ("before.sh", "script.sh"):
        (job / name).write_text(render(f"template/{name}.erb", context))
        (job / name).chmod((APP / "template" / f"{name}.erb").stat().st_mode)
    (job / "job.sh").write_text(JOB.replace("PORT", str(free_port())))
    log = folder / "log"
    with (
        nginx(folder, portal_port, NODE.replace("$folder", str(folder))),
        process(["bash", "job.sh"], installation.environment(folder), job, log) as started,
    ):
        wait_until((job / "connection.yml").exists, started, log)
        connection = yaml.safe_load((job / "connection.yml").read_text())
        portal = f"http://127.0.0.1:{portal_port}"
        url = f"{portal}/node/{connection['host']}/{connection['port']}"
        wait_until(answers(f"{url}/"), started, log)
        (folder / "view.html").write_text(render("view.html.erb", connection))
        yield Session(Server(f"{url}/app", portal_port, folder, folder, started), portal, connection)


def test_the_job_asks_for_what_the_form_says():
    form = yaml.safe_load((APP / "form.yml").read_text())
    assert set(form["attributes"]) <= set(form["form"])
    native = yaml.safe_load(render("submit.yml.erb", {"cores": "8", "memory_gb": "32"}))["script"]["native"]
    assert native == ["--ntasks=1", "--cpus-per-task=8", "--mem=32G"]


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.cluster
class TestSession:
    def test_a_wrong_password_is_refused(self, session: Session, chromium: Browser) -> None:
        context = chromium.new_context(viewport=VIEWPORT)
        for wrong in ("wrong", session.connection["password"].swapcase()):
            assert "/login?error=" in log_in(context, session.server.url, wrong)
        page = context.new_page()
        page.goto(session.server.url)
        expect(page.locator("input[name=password]")).to_be_visible()
        context.close()

    def test_the_view_opens_the_dashboard_with_its_websocket(self, session: Session, chromium: Browser) -> None:
        context = chromium.new_context(viewport=VIEWPORT)
        page = context.new_page()
        page.goto(f"{session.portal}/view.html")
        with context.expect_page() as opened:
            page.get_by_role("button", name="Open Mesoscope").click()
        opened.value.wait_for_url(session.server.url)
        with open_tab(session.server, context) as tab:
            page = tab.open("?page=runs")
            expect(page.get_by_text("No runs yet: choose data and design an experiment.")).to_be_visible()
        (cookie,) = [cookie for cookie in context.cookies(session.server.url) if cookie["name"] == "user"]
        assert cookie["path"] == session.server.url.removeprefix(session.portal).removesuffix("app")
        assert cookie["httpOnly"]
        known, origins = cookies(context, session.server.url), [session.portal, "http://evil.example.org"]
        assert [websocket_answer(session.server.url, origin, known) for origin in origins] == [101, 403]
        assert websocket_answer(session.server.url, session.portal) == 403
        context.close()

    def test_the_password_is_in_no_list_of_processes(self, session: Session) -> None:
        password = session.connection["password"]
        assert len(password) == 32
        listed = subprocess.run(["ps", "-ww", "-eo", "args"], check=True, capture_output=True, text=True).stdout
        assert "--prefix /node/127.0.0.1/" in listed
        assert password not in listed
