"""A small HTTP server on loopback, one thread per connection, which can be closed while requests hang.

What the embedded model's endpoint and the scripted model share: reading bodies, answering, streaming, and the
probes that clients send beside their real requests.
"""

from __future__ import annotations

import json
import socket
import socketserver
import sys
import threading
import traceback
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from pytest_llmcall.local_model.messages_api import error_body

_JOIN_S: Final = 5.0


class LoopbackServer(ThreadingHTTPServer):
    """Listens on a loopback port and knows its connections, so that closing never waits for a client."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, handler: type[BaseHTTPRequestHandler], *, port: int = 0) -> None:
        self._connections: set[socket.socket] = set()
        self._handlers: set[threading.Thread] = set()
        self._lock = threading.Lock()
        self._serving: threading.Thread | None = None
        super().__init__(("127.0.0.1", port), handler)

    @property
    def url(self) -> str:
        """The server's address, without a slash at its end."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def server_bind(self) -> None:
        """Bind without the look-up of a host name that HTTPServer makes, which can take seconds."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", int(self.server_address[1])

    def start(self) -> None:
        """Serve in a thread."""
        self._serving = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True, name="llmcall-loopback")
        self._serving.start()

    def close(self) -> None:
        """Stop serving and cut every connection."""
        if self._serving is not None:
            self.shutdown()
            self._serving.join(_JOIN_S)
        self.server_close()
        with self._lock:
            connections, handlers = list(self._connections), list(self._handlers)
        for connection in connections:
            cut(connection)
        for handler in handlers:
            handler.join(_JOIN_S)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Handle one connection, known to `close` for as long as it lives."""
        with self._lock:
            self._connections.add(request)
            self._handlers.add(threading.current_thread())
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._lock:
                self._connections.discard(request)
                self._handlers.discard(threading.current_thread())

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the base class's signature
        """Report a crash of a handler; a client that went away is none."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            traceback.print_exc()


class ApiHandler(BaseHTTPRequestHandler):
    """Reads requests and writes answers; subclasses say what is answered in `post`."""

    protocol_version = "HTTP/1.1"
    # Without it a small answer waits 40 ms for the client's delayed acknowledgement.
    disable_nagle_algorithm = True

    def post(self, path: str, body: dict[str, Any]) -> None:
        """Answer a POST whose body is a JSON object; `path` comes without its query."""
        raise NotImplementedError

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Stay quiet: the terminal belongs to others."""

    def do_HEAD(self) -> None:
        """Answer the probe that says that somebody is here."""
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        """Answer the probes of clients; there is nothing to get."""
        path = self.path.partition("?")[0]
        if path in {"/", "/api/hello", "/health"}:
            self.send_json(200, {"message": "hello"})
        else:
            self.send_json(404, error_body(404, f"nothing at {path}"))

    def do_POST(self) -> None:
        """Read the body and hand it to `post`."""
        raw = self.rfile.read(int(self.headers.get("content-length") or 0))
        try:
            body = json.loads(raw)
        except ValueError as error:
            self.send_json(400, error_body(400, f"the body is not JSON: {error}"))
            return
        if isinstance(body, dict):
            self.post(self.path.partition("?")[0], body)
        else:
            self.send_json(400, error_body(400, "the body is not a JSON object"))

    def send_json(self, status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> None:
        """Send a whole answer."""
        raw = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"content-type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def send_part(self, length: int, part: bytes) -> None:
        """Send the beginning of an answer that has so many bytes."""
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(length))
        self.end_headers()
        self.wfile.write(part)

    def start_stream(self) -> None:
        """Begin an answer whose length is not known."""
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()

    def send_chunk(self, data: bytes) -> None:
        """Send a piece of a streamed answer; an empty piece ends it."""
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def client_gone(self) -> bool:
        """Return whether the client has closed its side."""
        try:
            return not self.connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def hang_up(self) -> None:
        """End the connection without ending the answer."""
        self.close_connection = True
        cut(self.connection)


def cut(connection: socket.socket) -> None:
    """Shut a connection down; the thread that reads from it then ends and closes it."""
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # gone already
