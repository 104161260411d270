"""Mesoscope in the launcher of JupyterLab and JupyterHub: the entry point of jupyter-server-proxy."""

from __future__ import annotations

import sys
from typing import Any

from engine.assets import ASSETS

RUN = [sys.executable, "-P", "-m", "app.serve"]  # -P: not a folder `app` of the user's
START_S = 180  # imports from a cold network file system


def server() -> dict[str, Any]:
    """Command and launcher entry of the dashboard; a TCP port would be open to every user of the machine."""
    return {
        "command": [*RUN, "--unix-socket", "{unix_socket}", "--root-path", "{base_url}mesoscope"],
        "unix_socket": True,
        "timeout": START_S,
        "launcher_entry": {"title": "Mesoscope", "icon_path": str(ASSETS / "logo.svg")},
    }
