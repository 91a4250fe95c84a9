"""Names of servers and tiers in tables and plots."""

from __future__ import annotations

SERVERS = {
    "zoo": "Zoo, as shipped",
    "zoo-eager": "Zoo, eager fp32",
    "zoo-openvino": "Zoo, OpenVINO",
    "triton": "Triton",
    "triton-openvino": "Triton, OpenVINO",
    "litserve": "LitServe",
    "mlserver": "MLServer",
    "echo": "bare grpc.aio echo",
}
"""In the order of the tables."""
TIERS = {"eager": "in-process, eager fp32", "best": "in-process, compiled"}


def server_label(name: str) -> str:
    """The label of a server; a server without one keeps its name."""
    return SERVERS.get(name, name)
