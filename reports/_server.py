"""The report of a run that is too large for files: every page is made when a browser of this machine asks for it."""

import contextlib
import re
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from reasoning_anatomy.errors import ReasoningAnatomyError, RunError
from reasoning_anatomy.run.folder import Run
from reports._index import page_name
from reports._page import Report

LOOPBACK: Final = "127.0.0.1"

_OWN_NAMES: Final = re.compile(r"(127\.0\.0\.1|localhost)(:\d{1,5})?", re.ASCII | re.IGNORECASE)
_HTML, _TEXT = "text/html; charset=utf-8", "text/plain; charset=utf-8"
_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def serve(run: Run, *, port: int = 0, ready: Callable[[str], object] = print) -> None:
    """Show a run in the browser of this machine until the program is interrupted; nothing is written.

    Pages show the run as it was at the start. No analysis is run: what is missing is named with the command that makes it.

    Parameters
    ----------
    run
        The run.
    port
        Of the loopback address; 0 = a free one.
    ready
        Gets the address as soon as it answers.

    Raises
    ------
    RunError
        The folder holds no run, or the port cannot be had.
    """
    with ReportServer(run, port) as server, contextlib.suppress(KeyboardInterrupt):
        ready(server.address)
        server.serve_forever()


class ReportServer(ThreadingHTTPServer):
    """Answers for the results at ``/`` and for every chain at ``/report/<name>.html``, and for nothing else.

    A path of a request is looked up among these addresses, and never on the disk.
    """

    daemon_threads = True

    def __init__(self, run: Run, port: int) -> None:
        try:
            super().__init__((LOOPBACK, port), _Handler)
        except (OSError, OverflowError) as error:
            reason = error.strerror if isinstance(error, OSError) else "ports are 0 to 65535"
            raise RunError(f"port {port} of {LOOPBACK}: {reason}; name another one, or port 0 for one that is free") from None
        try:
            self._report = Report(run, front="", folder="report", max_chains=0)
            self._front = self._report.front()
        except BaseException:
            self.server_close()
            raise
        self._chain_at = {f"/report/{page_name(chain_id)}": chain_id for chain_id in self._report.others}

    @property
    def address(self) -> str:
        """Of the results."""
        return f"http://{LOOPBACK}:{self.server_address[1]}/"

    def page(self, path: str) -> bytes | None:
        """Make the page at a path; None if there is none."""
        if path == "/":
            return self._front
        if (chain_id := self._chain_at.get(path)) is None:
            return None
        ((_, page),) = self._report.chain_pages([chain_id])
        return page


class _Handler(BaseHTTPRequestHandler):
    server: ReportServer
    server_version = "reasoning-anatomy"
    sys_version = ""
    timeout = 30  # seconds for a connection on which nothing is said

    def do_GET(self) -> None:
        # a name that somebody else made to mean this machine would let their pages read the answers
        named = self.headers.get_all("Host", [])
        if len(named) != 1 or not _OWN_NAMES.fullmatch(named[0].strip()):
            self._answer(HTTPStatus.FORBIDDEN, _TEXT, f"open http://{LOOPBACK} or http://localhost with this port\n".encode())
            return
        try:
            page = self.server.page(self.path)
        except ReasoningAnatomyError as error:
            self._answer(HTTPStatus.INTERNAL_SERVER_ERROR, _TEXT, f"{error}\n".encode(errors="replace"))
            return
        if page is None:
            self._answer(HTTPStatus.NOT_FOUND, _TEXT, b"there is no such page\n")
        else:
            self._answer(HTTPStatus.OK, _HTML, page)

    do_HEAD = do_GET

    def _answer(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        with contextlib.suppress(ConnectionError):  # the reader has gone
            self.send_response(status)
            for name, value in (_HEADERS | {"Content-Type": kind, "Content-Length": str(len(content))}).items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""
