"""The HTTP server of the numbers: as prometheus_client's, but whoever connects and says nothing takes up little."""

import logging
import socket
from contextlib import suppress
from socketserver import ThreadingMixIn
from threading import BoundedSemaphore, Thread
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app

_log = logging.getLogger(__name__)

MOST_AT_ONCE: Final = 16
"""Who comes while so many are served is hung up on."""
SILENT_S: Final = 5.0


class _Handler(WSGIRequestHandler):
    timeout = SILENT_S

    def handle(self) -> None:
        with suppress(OSError):  # it said nothing, or has gone
            super().handle()

    def log_message(self, format: str, *args: Any) -> None:
        pass


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int]) -> None:
        self._places = BoundedSemaphore(MOST_AT_ONCE)
        found = socket.getaddrinfo(*address, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        self.address_family = found[0][0]
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._places.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        _log.info("The numbers could not be served", exc_info=True)


def serve(host: str, port: int, registry: CollectorRegistry) -> tuple[WSGIServer, Thread]:
    """Serve until its shutdown() is called. Raises OSError if it cannot listen there."""
    server = _Server((host, port))
    server.set_app(make_wsgi_app(registry))
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    return server, thread
