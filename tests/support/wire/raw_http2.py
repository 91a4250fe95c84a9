"""HTTP/2 frames made by hand (RFC 9113), for calls that no gRPC library sends: cut off, malformed, without a message."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM = ACK = 1
END_HEADERS = 4
CANCEL = 8
"""Error code of RST_STREAM."""
HEADER_TABLE_SIZE, INITIAL_WINDOW_SIZE = 1, 4
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
STATUS = b"grpc-status"
NO_STATUS = -1


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame."""
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def message(data: bytes) -> bytes:
    """A message as gRPC frames it: not compressed, with its length."""
    return b"\0" + struct.pack(">I", len(data)) + data


def header_block(path: str, **more: str) -> bytes:
    """The headers of a call, as literals without indexing (RFC 7541, 6.2.2). `more`: with `_` in place of `-`."""
    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":path": path,
        ":authority": "test",
        "te": "trailers",
        "content-type": "application/grpc",
    } | {name.replace("_", "-"): value for name, value in more.items()}
    return b"".join(
        b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode("latin-1")
        for name, value in fields.items()
    )


class RawConnection:
    """One connection. It answers settings and pings, and notes how each stream ends."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.statuses: dict[int, int] = {}
        """By stream: the gRPC status code, or NO_STATUS where the stream was reset without one."""
        self.received: dict[int, bytes] = {}
        """By stream: its data."""
        self.ended = False
        """The server has closed the connection, or will soon."""
        self._reader = reader
        self._writer = writer
        self._changed = asyncio.Condition()

    def send(self, data: bytes) -> None:
        """Sends bytes as they are."""
        self._writer.write(data)

    def headers(self, stream: int, path: str, **more: str) -> None:
        """Begins a call. `stream` is an odd number, greater than those before."""
        self.send(frame(HEADERS, END_HEADERS, stream, header_block(path, **more)))

    def data(self, stream: int, data: bytes, flags: int = 0) -> None:
        """Sends a part of a message, at most 16 KiB."""
        self.send(frame(DATA, flags, stream, data))

    def call(self, stream: int, path: str, data: bytes, **more: str) -> None:
        """Sends a whole unary call."""
        self.headers(stream, path, **more)
        self.data(stream, message(data), END_STREAM)

    def reset(self, stream: int) -> None:
        """Cancels a call."""
        self.send(frame(RST_STREAM, 0, stream, struct.pack(">I", CANCEL)))

    async def status(self, stream: int) -> int:
        """The status code, once the stream has ended."""
        async with self._changed:
            await self._changed.wait_for(lambda: stream in self.statuses or self.ended)
        return self.statuses[stream]

    async def until_ended(self) -> None:
        """Returns once the server closes the connection."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.ended)

    async def read(self) -> None:
        """Reads frames until the connection ends."""
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await self._reader.readexactly(9)
                payload = await self._reader.readexactly(int.from_bytes(head[:3]))
                kind, flags, stream = head[3], head[4], int.from_bytes(head[5:])
                async with self._changed:
                    self._take(kind, flags, stream, payload)
                    self._changed.notify_all()
        async with self._changed:
            self.ended = True
            self._changed.notify_all()

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == SETTINGS and not flags & ACK:
            self.send(frame(SETTINGS, ACK, 0))
        elif kind == PING and not flags & ACK:
            self.send(frame(PING, ACK, 0, payload))
        elif kind == DATA:
            self.received[stream] = self.received.get(stream, b"") + payload
        elif kind == HEADERS and STATUS in payload:
            at = payload.index(STATUS) + len(STATUS)
            self.statuses.setdefault(stream, int(payload[at + 1 : at + 1 + payload[at]]))
        elif kind == RST_STREAM:
            self.statuses.setdefault(stream, NO_STATUS)
        elif kind == GOAWAY:
            self.ended = True


@asynccontextmanager
async def connected(port: int, window: int = 1 << 20) -> AsyncIterator[RawConnection]:
    """A connection that has sent its settings. `window`: bytes that the server may send on each stream."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    connection = RawConnection(reader, writer)
    # Without a table of headers the server sends each as a literal, which can be found without a decoder.
    settings = struct.pack(">HIHI", HEADER_TABLE_SIZE, 0, INITIAL_WINDOW_SIZE, window)
    connection.send(PREFACE + frame(SETTINGS, 0, 0, settings))
    task = asyncio.create_task(connection.read())
    try:
        yield connection
    finally:
        writer.close()
        await task
        with suppress(ConnectionError):
            await writer.wait_closed()
