"""Serves the page's folder on the loopback interface, only for this machine."""

import webbrowser
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

__all__ = ["served", "server"]


class _Quiet(SimpleHTTPRequestHandler):
    """A handler that sends modules with the types that browsers require, and prints no line for
    each request."""

    extensions_map = SimpleHTTPRequestHandler.extensions_map | {
        ".mjs": "text/javascript",
        ".js": "text/javascript",
        ".wasm": "application/wasm",
        ".pack": "application/octet-stream",
        ".bin": "application/octet-stream",
    }

    def log_message(self, format: str, *args: object) -> None:
        pass


def server(folder: str) -> ThreadingHTTPServer:
    """A server for a folder on the loopback interface, on a free port; it is not running yet."""
    return ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=folder))


def served(folder: str, tell: Callable[[str], None]) -> None:
    """Serves a folder and opens it in the browser, until it is interrupted."""
    with suppress(KeyboardInterrupt), server(folder) as running:
        address = f"http://127.0.0.1:{running.server_address[1]}/"
        tell(address)
        webbrowser.open_new_tab(address)
        running.serve_forever()
