"""One call of each protocol at the least cost for the client: bytes out, and only the status of the reply is parsed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager

import grpc

UNARY = "/inference.GRPCInferenceService/ModelInfer"
STREAM = "/inference.GRPCInferenceService/ModelStreamInfer"
OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),
]

Call = Callable[[bytes, float | None], Coroutine[None, None, str]]
"""Message, timeout in seconds → "" if it was answered, else the name of the error."""


@asynccontextmanager
async def connect(protocol: str, target: str) -> AsyncIterator[Call]:
    """A function that calls `target`, by `grpc` or `http`."""
    if protocol == "grpc":
        async with grpc.aio.insecure_channel(target, OPTIONS) as channel:
            yield _grpc(channel)
    else:
        pool = _Connections(target)
        yield pool.call
        pool.close()


def _grpc(channel: grpc.aio.Channel) -> Call:
    unary = channel.unary_unary(UNARY, request_serializer=None, response_deserializer=None)

    async def call(message: bytes, timeout: float | None) -> str:  # noqa: ASYNC109
        try:
            await unary(message, timeout=timeout)
        except grpc.RpcError as error:
            return str(error.code().name)
        return ""

    return call


class _Connections:
    """Persistent HTTP/1.1 connections, shared by the callers; a message is the JSON body of POST /predict."""

    def __init__(self, target: str) -> None:
        self._host, _, port = target.partition(":")
        self._port = int(port)
        self._free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._head = f"POST /predict HTTP/1.1\r\nHost: {target}\r\nContent-Type: application/json\r\nContent-Length: "

    async def call(self, message: bytes, timeout: float | None) -> str:  # noqa: ASYNC109
        """See Call. A connection whose call timed out is closed, since its answer may still arrive."""
        try:
            async with asyncio.timeout(timeout):
                reader, writer = (
                    self._free.pop() if self._free else await asyncio.open_connection(self._host, self._port)
                )
                try:
                    status = await self._exchange(reader, writer, message)
                except BaseException:
                    writer.close()
                    raise
        except TimeoutError:
            return "DEADLINE_EXCEEDED"
        except (OSError, EOFError, ValueError):
            return "UNAVAILABLE"
        self._free.append((reader, writer))
        return "" if status == 200 else f"HTTP_{status}"

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, message: bytes) -> int:
        writer.writelines([f"{self._head}{len(message)}\r\n\r\n".encode(), message])
        await writer.drain()
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        status = int(head.split(b" ", 2)[1])
        if b"content-length:" in head:
            await reader.readexactly(int(head.split(b"content-length:")[1].split(b"\r\n")[0]))
        else:  # chunked
            while size := int((await reader.readline()).split(b";")[0], 16):
                await reader.readexactly(size + 2)
            await reader.readline()
        return status

    def close(self) -> None:
        """Close the free connections."""
        for _, writer in self._free:
            writer.close()
