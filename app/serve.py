"""The command `mesoscope`: serves the dashboard on a port or a unix socket, below any prefix.

It is `panel serve app` with what a portal needs. A port accepts websockets from the origins that are named, a unix
socket only from the host that the page itself came from: whoever reaches the socket is the proxy in front of it.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import secrets
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

APP = Path(__file__).resolve().parent
PASSWORD = "MESOSCOPE_PASSWORD"
PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until it is ended; raises SystemExit for wrong arguments."""
    args, others = make_parser().parse_known_args(arguments)
    command = panel_command(args, os.environ)
    os.environ.pop(PASSWORD, None)  # not for the processes that are started from here
    if args.unix_socket:
        _trust_own_host()
        end_with_parent()
    from panel.command import main as panel

    sys.argv = [*command, *others]
    panel()


def make_parser() -> argparse.ArgumentParser:
    """The parser of `mesoscope`; unknown arguments are those of `panel serve`."""
    parser = argparse.ArgumentParser(
        prog="mesoscope",
        description="Serve the dashboard. Other arguments are handed to `panel serve`.",
        epilog=f"With ${PASSWORD} set, the dashboard asks for it (any user name). Portals: docs/portals.md.",
        allow_abbrev=False,
    )
    place = parser.add_mutually_exclusive_group()
    place.add_argument("--port", type=int, default=5006, help="port (default: 5006)")
    place.add_argument(
        "--unix-socket",
        metavar="PATH",
        help="a socket in place of a port, for the proxy of one user, with which it ends",
    )
    parser.add_argument("--address", default="127.0.0.1", help="address of the port (default: 127.0.0.1)")
    parser.add_argument(
        "--origin",
        action="append",
        metavar="HOST[:PORT]",
        type=_origin,
        help="host that browsers show in their address bar; may be repeated (default: localhost with the port)",
    )
    prefix = parser.add_mutually_exclusive_group()
    prefix.add_argument("--prefix", type=_prefix, help="path below which a proxy shows it, and hands it on")
    prefix.add_argument("--root-path", type=_prefix, help="path below which a proxy shows it, and strips it")
    return parser


def panel_command(args: argparse.Namespace, environment: Mapping[str, str]) -> list[str]:
    """Arguments of `panel`, its own name first."""
    command = ["panel", "serve", str(APP)]
    if args.unix_socket:
        command += ["--unix-socket", args.unix_socket]
    else:
        command += ["--address", args.address, "--port", str(args.port)]
        for origin in args.origin or (f"localhost:{args.port}", f"127.0.0.1:{args.port}"):
            command += ["--allow-websocket-origin", origin]
    path = args.prefix or args.root_path or ""
    if args.prefix:
        command += ["--prefix", path]
    if path:
        command += ["--root-path", f"{path}/"]
    if password := environment.get(PASSWORD):
        command += ["--basic-auth", password, "--cookie-secret", secrets.token_hex(32), "--cookie-path", f"{path}/"]
    return command


def end_with_parent() -> None:
    """Have Linux end this process with the one that started it: a proxy that is stopped may leave it behind."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _origin(word: str) -> str:
    if "*" in word or "/" in word:
        raise argparse.ArgumentTypeError(f"{word} is not a host: expected one as browsers show it, as hpc.example.org")
    return word


def _prefix(word: str) -> str:
    if not word.startswith("/"):
        raise argparse.ArgumentTypeError(f"{word} is not a path: expected one that begins with /")
    return word.rstrip("/")


def _trust_own_host() -> None:
    """Accept websockets whose Origin is their Host, which is Tornado's own rule and not Bokeh's."""
    from panel.io import server
    from tornado.websocket import WebSocketHandler

    class SameHost(server.WSHandler):
        def check_origin(self, origin: str) -> bool:
            return WebSocketHandler.check_origin(self, origin)

    server.per_app_patterns[0] = (r"/ws", SameHost)


if __name__ == "__main__":
    main()
