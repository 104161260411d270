"""A real nginx on the loopback."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.portals.installation import process

CONFIGURATION = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
{user}
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        {locations}
    }}
}}
"""


@contextmanager
def nginx(folder: Path, port: int, locations: str) -> Iterator[None]:
    """nginx on a port of the loopback, with these locations in its `server` block."""
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin")
    assert program, "nginx is missing: apt-get install nginx-light"
    user = "user root;" if os.geteuid() == 0 else ""  # else its workers can't read the folder of the test
    configuration = folder / "nginx.conf"
    configuration.write_text(CONFIGURATION.format(folder=folder, port=port, user=user, locations=locations))
    with process([program, "-c", str(configuration)], dict(os.environ), folder, folder / "nginx.log"):
        yield
