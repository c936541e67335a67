"""An HTTP service in front of a queue with a handler, in one event loop.

    python web_service.py [--port N] [--backend auto|host|cuda]

    curl --data-binary @words.txt http://127.0.0.1:8080/upper

The standard library's asyncio serves; a POST to /upper is a call of the queue, whose handler answers it, on a GPU where
there is one. Requests wait in the queue, not in threads: with no room the service says 503, and after a second 504. GET
/stats shows the queue. Ends on SIGTERM and Ctrl-C, once open requests are answered.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import json
import os
import signal
from typing import Literal

import ipcq

MOST_BYTES = 64 << 10


async def read_request(reader: asyncio.StreamReader) -> tuple[str, str, bytes]:
    """Method, path and body of an HTTP/1.1 request with a Content-Length."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, path, _ = head[0].split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
    length = int(headers.get("content-length", "0"))
    if length > MOST_BYTES:
        raise ValueError("too long")
    return method, path, await reader.readexactly(length)


def response(code: int, reason: str, body: bytes, kind: str = "application/octet-stream") -> bytes:
    """An HTTP response."""
    head = (
        f"HTTP/1.1 {code} {reason}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body


class Service:
    """Answers HTTP requests by calls."""

    def __init__(self, broker: ipcq.Broker, client: ipcq.Client) -> None:
        self._broker = broker
        self._client = client

    async def answer(self, method: str, path: str, body: bytes) -> bytes:
        """What to say to a request."""
        if (method, path) == ("GET", "/stats"):
            queue = self._broker.stats().queues[0]
            return response(200, "OK", json.dumps(dataclasses.asdict(queue)).encode(), "application/json")
        if (method, path) != ("POST", "/upper"):
            return response(404, "Not Found", b"POST /upper or GET /stats\n", "text/plain")
        try:
            return response(200, "OK", await self._client.call(body, timeout=1))
        except ipcq.Full:
            return response(503, "Service Unavailable", b"too many requests at once\n", "text/plain")
        except (ipcq.Expired, ipcq.TimeoutError):
            return response(504, "Gateway Timeout", b"", "text/plain")

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, which has one request."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            try:
                writer.write(await self.answer(*await read_request(reader)))
            except (ValueError, asyncio.LimitOverrunError):
                writer.write(response(400, "Bad Request", b"", "text/plain"))
            await writer.drain()
            writer.close()
            await writer.wait_closed()


async def run(port: int, backend: Literal["auto", "host", "cuda"]) -> None:
    """Serves until a signal comes."""
    name = f"web-{os.getpid()}"
    with ipcq.Broker(name) as broker, ipcq.connect(name) as session:
        broker.create("upper", slots=64, slot_bytes=MOST_BYTES, handler="upper", calls=64, backend=backend)
        with session.client("upper", reply_bytes=MOST_BYTES) as client:
            server = await asyncio.start_server(Service(broker, client).serve, "127.0.0.1", port)
            print(f"serving at port {server.sockets[0].getsockname()[1]}", flush=True)
            stop = asyncio.Event()
            for number in (signal.SIGINT, signal.SIGTERM):
                asyncio.get_running_loop().add_signal_handler(number, stop.set)
            await stop.wait()
            server.close()
            await server.wait_closed()


def main() -> None:
    """Reads the options and serves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--backend", default="auto", choices=["auto", "host", "cuda"])
    options = parser.parse_args()
    asyncio.run(run(options.port, options.backend))


if __name__ == "__main__":
    main()
