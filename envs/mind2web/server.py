"""A site behind HTTP on the loopback interface, for a real browser to visit."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

from cmat_gym.core.errors import BackendError
from cmat_gym.envs.mind2web.backend import copy_db, document
from cmat_gym.envs.mind2web.records import Db
from cmat_gym.envs.mind2web.sites.base import Site

__all__ = ["SiteServer"]

LARGEST_FORM = 1 << 20


class SiteServer:
    """Serves one site and its database; both can be replaced between requests."""

    def __init__(self) -> None:
        self.site: Site | None = None
        self.db: Db = {}
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(self))
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def origin(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def get(self, url: str) -> str:
        """The document at an address."""
        if self.site is None:
            raise BackendError("No site is being served")
        return document(self.site, self.db, url)

    def post(self, url: str, body: str) -> str:
        """Send a form; returns where to go next."""
        if self.site is None:
            raise BackendError("No site is being served")
        db = copy_db(self.db)
        target = self.site.submit(db, urlsplit(url).path, dict(parse_qsl(body, keep_blank_values=True)))
        self.db = db
        return target

    def close(self) -> None:
        """Stop serving."""
        self._http.shutdown()
        self._http.server_close()


def _handler_of(server: SiteServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self.path == "/favicon.ico":
                self._answer(204, b"")
            else:
                self._answer(200, server.get(self.path).encode())

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            if length > LARGEST_FORM:
                self._answer(413, b"")
                return
            target = server.post(self.path, self.rfile.read(length).decode(errors="replace"))
            self._answer(303, b"", target)

        def _answer(self, status: int, body: bytes, location: str = "") -> None:
            self.send_response(status)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")  # going back shows the site as it is now
            if location:
                self.send_header("Location", location)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Silence."""

    return Handler
