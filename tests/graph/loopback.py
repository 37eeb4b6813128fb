"""A real HTTP server on loopback that speaks the OpenAI protocol, as well or as badly as a test wants."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = Callable[[BaseHTTPRequestHandler], None]


def completion(message: dict[str, Any], **fields: Any) -> bytes:
    """Return the body of an answer."""
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", **message}}
    shared = {"id": "1", "object": "chat.completion", "created": 1, "model": "m"}
    return json.dumps({**shared, "choices": [choice], **fields}).encode()


def send(
    handler: BaseHTTPRequestHandler, body: bytes, *, status: int = 200, length: int | None = None
) -> None:
    """Answer a request; with a wrong ``length`` the connection ends in the middle of the answer."""
    handler.send_response(status)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(body) if length is None else length))
    handler.end_headers()
    handler.wfile.write(body)
    handler.wfile.flush()
    handler.close_connection = length is not None


@contextmanager
def openai_server(reply: Reply, *, keep_alive: bool = False) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Serve ``reply`` to every request; yield the server's address and the requests so far."""
    asked: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1" if keep_alive else "HTTP/1.0"

        def do_POST(self) -> None:
            self.asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append(self.asked)
            reply(self)

        def log_message(self, format: str, *args: object) -> None:
            """Keep the test's output clean."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1", asked
        finally:
            server.shutdown()
