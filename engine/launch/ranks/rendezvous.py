"""Server at which ranks without horovodrun find each other: Horovod's own, of keys and values.

The second and last module that imports Horovod, and only its part without TensorFlow: supervision needs no GPU.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from horovod.runner.http.http_server import RendezvousHandler, RendezvousHTTPServer


class _Handler(RendezvousHandler):
    """Server of Horovod that lists no files of this folder, as its base class would."""

    def do_HEAD(self) -> None:  # noqa: N802 (the name is the library's)
        self.send_status_code(405)


@dataclass(frozen=True)
class Keys:
    """The keys and values of a server, by scope, and its port, which the system chose."""

    server: RendezvousHTTPServer

    @property
    def port(self) -> int:
        return int(self.server.server_address[1])

    def of(self, scope: str) -> dict[str, bytes]:
        with self.server.cache_lock:
            return dict(self.server.cache.get(scope, {}))

    def put(self, scope: str, values: Mapping[str, bytes]) -> None:
        with self.server.cache_lock:
            self.server.cache.setdefault(scope, {}).update(values)


@contextmanager
def rendezvous(address: str) -> Iterator[Keys]:
    """Serve on one IPv4 address of this host while the ranks live.

    Like Gloo itself, the server authenticates nobody: it belongs on 127.0.0.1, or on a cluster's inner network. It
    holds nothing but the addresses of the ranks.

    Raises
    ------
    OSError
        If the address isn't one of this host.
    """
    server = RendezvousHTTPServer((address, 0), _Handler, 0)
    server.daemon_threads = True
    server.init([])  # who is where, srun decides: without a plan, keys are forgotten one by one
    thread = threading.Thread(target=server.serve_forever, name="rendezvous", daemon=True)
    thread.start()
    try:
        yield Keys(server)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
