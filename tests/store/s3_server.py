"""An S3 server on loopback, and a proxy before it that counts, stops and misbehaves as a test wants."""

from __future__ import annotations

import http.client
import socket
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from command import free_port, started, until

KEY, SECRET = "AKIAPROBEPROBEPROBE", "probe/secret/probe/secret/probe/secret00"
BUCKET = "sweeps"


def login(address: str) -> dict[str, str]:
    """What the environment of a client holds."""
    return {
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_ENDPOINT_URL": address,
        "AWS_REGION": "us-east-1",
    }


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """moto's server in a process of its own, with an empty bucket: its address. It accepts any login."""
    port = free_port()
    main = "from moto.server import main; main()"
    command = [sys.executable, "-c", main, "-H", "127.0.0.1", "-p", port]
    with (folder / "moto.log").open("w") as log, started(*command, cwd=folder, stderr=log):
        address = f"http://127.0.0.1:{port}"
        until(lambda: _answers(address))
        _ask(f"{address}/{BUCKET}", "PUT")
        yield address


def check_logins(address: str, *, known: bool) -> None:
    """Whether the server refuses logins that it does not know, which are all."""
    body = b"0" if known else b"inf"
    _ask(f"{address}/moto-api/reset-auth", "POST", body)


def _answers(address: str) -> bool:
    with suppress(OSError):
        _ask(f"{address}/moto-api/", "GET")
        return True
    return False


def _ask(url: str, method: str, body: bytes | None = None) -> None:
    headers = {"Content-Type": "text/plain"}
    urllib.request.urlopen(urllib.request.Request(url, body, headers, method=method), timeout=30).close()


@dataclass
class Proxy:
    """Passes requests on. `before` sees (number, method, path) and may raise Refused; `drop` lists headers."""

    behind: str
    address: str = ""
    before: Callable[[int, str, str], None] = lambda number, method, path: None
    drop: tuple[str, ...] = ()
    requests: list[tuple[str, str]] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)


class Refused(Exception):  # noqa: N818 an answer that is wanted
    """The proxy answers 400, which no client tries again."""


@contextmanager
def proxy(behind: str) -> Iterator[Proxy]:
    """A proxy before the server at an address."""
    state, mutex = Proxy(behind), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            host, port = behind.removeprefix("http://").split(":")
            self.upstream = http.client.HTTPConnection(host, int(port), timeout=60)

        def finish(self) -> None:
            self.upstream.close()
            super().finish()

        def pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            with mutex:
                state.requests.append((self.command, self.path))
                state.heads.append(str(self.headers))
                number = len(state.requests)
            try:
                state.before(number, self.command, self.path)
            except Refused:
                self.answer(400, {}, b"")
                return
            headers = {k: v for k, v in self.headers.items() if k.lower() not in state.drop}
            self.upstream.request(self.command, self.path, body, headers)
            answer = self.upstream.getresponse()
            self.answer(answer.status, dict(answer.getheaders()), answer.read())

        def answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response_only(status)
            for name, value in headers.items():
                if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                    self.send_header(name, value)
            length = headers.get("Content-Length", "0") if self.command == "HEAD" else str(len(body))
            self.send_header("Content-Length", length)
            self.end_headers()
            with suppress(OSError):  # who asked may be gone
                self.wfile.write(b"" if self.command == "HEAD" else body)

        do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = pass_on  # noqa: N815 names that http.server looks for

        def log_message(self, *_: Any) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    httpd.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that was killed
    state.address = f"http://127.0.0.1:{httpd.server_address[1]}"
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join()


@contextmanager
def deaf() -> Iterator[str]:
    """The address of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
