"""A server of data on this machine: files of a folder over HTTP, and one dataset over OPeNDAP; it fails on request.

Source of the protocol: NASA ESE-RFC-004.1.1, The Data Access Protocol, DAP 2.0.
"""

from __future__ import annotations

import functools
import http.server
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import s3fs
import xarray as xr
from zarr.core.sync import sync

DAP_TYPES = {"f4": "Float32", "f8": "Float64"}


@dataclass
class DataServer:
    """url : of the folder; dap_url : of the dataset; requests, authorizations : what was asked for.

    n_bytes : sent as ranges of files.

    failure : of all requests from now on, or of so many: "" for none, 403 or another status, "cut" (the connection is
        closed) or "stall" (nothing is answered).
    """

    dataset: xr.Dataset | None = None
    failure: str = ""
    failures_left: float = float("inf")
    n_bytes: int = 0
    requests: list[str] = field(default_factory=list)
    authorizations: list[str | None] = field(default_factory=list)
    url: str = ""
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def dap_url(self) -> str:
        return f"{self.url}/dap/field"


@contextmanager
def serving(folder: Path, dataset: xr.Dataset | None = None) -> Iterator[DataServer]:
    """Serve a folder, and a dataset of float variables."""
    server = DataServer(dataset)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            server.requests.append(self.path)
            server.authorizations.append(self.headers["Authorization"])
            failure = server.failure if server.failures_left > 0 else ""
            server.failures_left -= bool(failure)
            if failure == "stall":
                server.ended.wait()
            elif failure == "cut":
                self.close_connection = True
            elif failure:
                self.send_error(int(failure))
            elif self.path.startswith("/dap/field"):
                assert server.dataset is not None
                self._send(dap_answer(server.dataset, unquote(self.path)))
            elif found := re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"] or ""):
                self._send_range(int(found[1]), int(found[2]) + 1)
            elif self.command == "HEAD":
                super().do_HEAD()
            else:
                super().do_GET()

        do_HEAD = do_GET  # noqa: N815

        def _send_range(self, first: int, end: int) -> None:
            content = Path(self.translate_path(self.path)).read_bytes()
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{min(end, len(content)) - 1}/{len(content)}")
            self.send_header("Content-Length", str(len(content[first:end])))
            self.end_headers()
            self.wfile.write(content[first:end])
            server.n_bytes += len(content[first:end])

        def _send(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def list_directory(self, path: object) -> None:
            self.send_error(404)  # as of object stores

        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder))) as http_:
        thread = threading.Thread(target=http_.serve_forever)
        thread.start()
        server.url = f"http://127.0.0.1:{http_.server_port}"
        try:
            yield server
        finally:
            server.ended.set()
            http_.shutdown()
            thread.join()


def s3_environment(server: DataServer) -> dict[str, str]:
    """The variables by which the server's folders are buckets of an S3-compatible store, read with a key."""
    return {
        "AWS_ENDPOINT_URL": server.url,
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "very-secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }


def end_s3_connections() -> None:
    """End what s3fs keeps open; it has the server's address."""
    for files in list(s3fs.S3FileSystem._cache.values()):
        if files.asynchronous and files._s3creator is not None:
            sync(files._s3creator.__aexit__(None, None, None))
    s3fs.S3FileSystem.clear_instance_cache()


def dap_answer(dataset: xr.Dataset, path: str) -> bytes:
    """Answer `….dds`, `….das` or `….dods?name[first:step:last]…,…`."""
    address, _, constraint = path.partition("?")
    kind = address.rpartition(".")[2]
    if kind == "das":
        return f"Attributes {{\n{''.join(map(_attributes, dataset.variables.values(), dataset.variables))}}}\n".encode()
    parts = [_part(dataset, asked) for asked in constraint.split(",")] if constraint else dataset.variables.items()
    structure = "".join(
        f"    {DAP_TYPES[values.dtype.str[1:]]} {name}{''.join(f'[{dim} = {n}]' for dim, n in values.sizes.items())};\n"
        for name, values in parts
    )
    text = f"Dataset {{\n{structure}}} field;\n".encode()
    if kind == "dds":
        return text
    arrays = (np.ascontiguousarray(values.values, values.dtype.newbyteorder(">")) for _, values in parts)
    return text + b"\nData:\n" + b"".join(2 * np.array(each.size, ">u4").tobytes() + each.tobytes() for each in arrays)


def _attributes(variable: xr.Variable, name: str) -> str:
    lines = "".join(f'        String {word} "{text}";\n' for word, text in variable.attrs.items())
    return f"    {name} {{\n{lines}    }}\n"


def _part(dataset: xr.Dataset, asked: str) -> tuple[str, xr.Variable]:
    name, *ranges = re.split(r"[\[\]]+", asked.rstrip("]"))
    bounds = [[int(number) for number in part.split(":")] for part in ranges]
    slices = [slice(part[0], part[-1] + 1, part[1] if len(part) == 3 else 1) for part in bounds]
    return name, dataset.variables[name][tuple(slices)]
