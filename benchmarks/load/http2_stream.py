"""A bidirectional gRPC stream as HTTP/2 frames (RFC 9113; gRPC over HTTP/2), for a client that must not be the bottleneck.

A gRPC library takes longer to send and receive a message of 100 bytes than a server should take to answer it. Here each message
is a frame that was made beforehand, and of the replies only the messages are counted. Headers are not read: an error of gRPC ends
the stream without a message, and an error of the protocol shows in the first byte of the message.
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections import Counter
from collections.abc import Callable, Sequence

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
ACK = END_STREAM = 1
END_HEADERS = 4
INITIAL_WINDOW_SIZE = 4
LARGEST_WINDOW = 2**31 - 1
STREAM = 1
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
ERROR_MESSAGE = 0x0A
"""First byte of a ModelStreamInferResponse that holds `error_message`: field 1, length-delimited."""


class StreamProtocol(asyncio.Protocol):
    """One connection with one stream that keeps `window` requests in flight until `end` of its clock."""

    def __init__(
        self,
        target: str,
        path: str,
        messages: Sequence[bytes],
        window: int,
        began: float,
        end: float,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.done, self.errors = 0, Counter[str]()
        self.finished = asyncio.get_running_loop().create_future()
        self._head = _headers(target, path)
        self._messages = [frame(DATA, 0, STREAM, b"\0" + struct.pack(">I", len(m)) + m) for m in messages]
        self._began, self._end, self._clock = began, end, clock
        self._to_send, self._next, self._in_flight = window, 0, 0
        self._received, self._replies = bytearray(), bytearray()
        self._connection_credit = self._stream_credit = self._initial = 65_535  # until the server sends its settings

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the preface, the settings and the first requests."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        settings = struct.pack(">HI", INITIAL_WINDOW_SIZE, LARGEST_WINDOW)
        more = struct.pack(">I", LARGEST_WINDOW - 65_535)
        transport.write(PREFACE + frame(SETTINGS, 0, 0, settings) + frame(WINDOW_UPDATE, 0, 0, more) + self._head)
        self._send()

    def data_received(self, data: bytes) -> None:
        """Take whole frames from the received bytes, then send as many requests as were answered."""
        self._received += data
        start, have = 0, len(self._received)
        while have - start >= 9:
            length = int.from_bytes(self._received[start : start + 3])
            if have - start < 9 + length:
                break
            kind, flags = self._received[start + 3], self._received[start + 4]
            self._take(kind, flags, int.from_bytes(self._received[start + 5 : start + 9]), start + 9, length)
            start += 9 + length
        del self._received[:start]
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        """Count the requests in flight as errors."""
        if not self.finished.done():
            self._finish("ENDED")

    def _take(self, kind: int, flags: int, stream: int, start: int, length: int) -> None:
        if kind == DATA:
            self._replies += self._received[start : start + length]
            self._count()
        elif kind == SETTINGS and not flags & ACK:
            for at in range(start, start + length, 6):
                name, value = struct.unpack_from(">HI", self._received, at)
                if name == INITIAL_WINDOW_SIZE:
                    self._stream_credit += value - self._initial
                    self._initial = value
            self._transport.write(frame(SETTINGS, ACK, 0, b""))
        elif kind == WINDOW_UPDATE:
            more = int.from_bytes(self._received[start : start + 4]) & LARGEST_WINDOW
            if stream:
                self._stream_credit += more
            else:
                self._connection_credit += more
        elif kind == PING and not flags & ACK:
            self._transport.write(frame(PING, ACK, 0, bytes(self._received[start : start + length])))
        if kind in (RST_STREAM, GOAWAY) or (kind in (DATA, HEADERS) and flags & END_STREAM):
            self._finish("ENDED")

    def _count(self) -> None:
        """Count the whole messages among the replies: each has a flag byte, four bytes of length, and its content."""
        start, now = 0, self._clock()
        while len(self._replies) - start >= 5:
            length = int.from_bytes(self._replies[start + 1 : start + 5])
            if len(self._replies) - start < 5 + length:
                break
            if length and self._replies[start + 5] == ERROR_MESSAGE:
                self.errors["ERROR"] += 1
            self.done += self._began <= now <= self._end
            self._in_flight -= 1
            self._to_send += now < self._end
            start += 5 + length
        del self._replies[:start]
        if not self._in_flight and not self._to_send:
            self._finish("")

    def _send(self) -> None:
        ready = []
        while self._to_send and not self.finished.done():
            message = self._messages[self._next % len(self._messages)]
            if len(message) - 9 > min(self._connection_credit, self._stream_credit):
                break  # the server's WINDOW_UPDATE calls this again
            self._connection_credit -= len(message) - 9
            self._stream_credit -= len(message) - 9
            ready.append(message)
            self._next += 1
            self._to_send -= 1
            self._in_flight += 1
        if ready:
            self._transport.write(b"".join(ready))

    def _finish(self, error: str) -> None:
        if self.finished.done():
            return
        if error and self._in_flight:
            self.errors[error] += self._in_flight
        self.finished.set_result(None)
        self._transport.close()


async def stream(
    target: str,
    path: str,
    messages: Sequence[bytes],
    window: int,
    began: float,
    end: float,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[int, Counter[str]]:
    """Answers between `began` and `end` on one stream that always has `window` requests in flight, and the errors by name."""
    host, _, port = target.partition(":")
    loop = asyncio.get_running_loop()
    _, protocol = await loop.create_connection(
        lambda: StreamProtocol(target, path, messages, window, began, end, clock), host, int(port)
    )
    await protocol.finished
    return protocol.done, protocol.errors


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """One HTTP/2 frame. Messages here are small: a frame may hold 16 KiB unless the peer allows more."""
    assert len(payload) <= 16_384
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def _headers(target: str, path: str) -> bytes:
    """The headers of the request, as literals without indexing (RFC 7541, 6.2.2), so that no table is needed."""
    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":path": path,
        ":authority": target,
        "te": "trailers",
        "content-type": "application/grpc",
    }
    block = b"".join(
        b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
        for name, value in fields.items()
    )
    return frame(HEADERS, END_HEADERS, STREAM, block)
