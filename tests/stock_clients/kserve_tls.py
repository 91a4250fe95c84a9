"""What KServe's Python client gets to see of a server over TLS, as JSON. `python kserve_tls.py HOST:PORT CA.crt`"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from kserve import InferenceGRPCClient, InferInput, InferRequest

TRANSFORMER = "all_minilm_l6_v2"


async def run(target: str, ca_file: str) -> dict[str, Any]:
    async with InferenceGRPCClient(target, use_ssl=True, root_certificates=ca_file) as client:
        texts = InferInput("text", [1, 1], "BYTES", ["A cat sleeps on the sofa."])
        reply = await client.infer(InferRequest(TRANSFORMER, [texts]))
        return {
            "live": await client.is_server_live(),
            "ready": await client.is_server_ready(),
            "shape": list(reply.outputs[0].as_numpy().shape),
        }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(run(sys.argv[1], sys.argv[2]))))
