"""A closed-loop client in a process of its own: `concurrency` callers, each sending its next call when the last is answered.

    python -m benchmarks.client      one JSON line in, one JSON line out, until standard input ends

Messages go out as bytes made beforehand and replies come back unparsed, so that the client takes as little as it can of
the cores that it shares with the server.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import time

import grpc
import numpy as np

UNARY = "/inference.GRPCInferenceService/ModelInfer"
OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.enable_http_proxy", 0),
]


async def closed_loop(target: str, messages: list[bytes], concurrency: int, seconds: float) -> dict[str, float]:
    """Calls a second and latencies in milliseconds, after a warm-up of a tenth of the time."""
    latencies: list[float] = []
    done = errors = 0
    async with grpc.aio.insecure_channel(target, OPTIONS) as channel:
        call = channel.unary_unary(UNARY, request_serializer=None, response_deserializer=None)
        began = time.perf_counter() + 0.1 * seconds
        end = began + seconds

        async def caller(number: int) -> None:
            nonlocal done, errors
            message = messages[number % len(messages)]
            while (start := time.perf_counter()) < end:
                try:
                    await call(message)
                except grpc.RpcError:
                    errors += 1
                    continue
                now = time.perf_counter()
                done += (
                    began <= now <= end
                )  # whenever it began: those that the window cuts off are as many as at its start
                if start >= began:
                    latencies.append(now - start)

        await asyncio.gather(*(caller(i) for i in range(concurrency)))
    quantiles = np.quantile(latencies, [0.5, 0.99]) * 1000.0 if latencies else [float("nan")] * 2
    return {
        "calls_s": done / seconds,
        "p50_ms": float(quantiles[0]),
        "p99_ms": float(quantiles[1]),
        "errors": errors,
    }


def main() -> None:
    """See the module."""
    for line in sys.stdin:
        order = json.loads(line)
        messages = [base64.b64decode(text) for text in order.pop("messages")]
        print(json.dumps(asyncio.run(closed_loop(messages=messages, **order))), flush=True)


if __name__ == "__main__":
    main()
