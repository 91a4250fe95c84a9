"""The process of a lane: `python -m service.runtime.lanes.process_worker HANDLE THREADS`, started by `processes.py` alone.

It runs eager networks where no other thread wants the interpreter: torch releases the interpreter's lock and takes it again in
each of the some hundred operations of a network, and in the server's own process waits for it whenever the event loop or
another lane is busy.

Each line of JSON on standard input is answered by one on standard output; arrays lie in the arena behind HANDLE.

    {"do": "load", "network": key, "card": …, "weights": path, "precision": …}
    {"do": "run", "network": key, "inputs": notes}   → {"outputs": notes}
    {"do": "free", "network": key}
    {"do": "held"}                                   → {"bytes": private memory}

An error is answered by {"error": its text, "out_of_memory": whether memory ran out}. Standard error is the server's. The process
ends at the end of standard input. It ignores the signals that ask a process to end: a terminal or a container sends them to the
server as well, which drains first.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

import torch

from model_zoo import strict_json
from model_zoo.cards.card import Card
from model_zoo.errors import panics_as_errors
from model_zoo.materialised import Materialised
from model_zoo.network import load_network
from service.observability.standard_streams import protect
from service.runtime.allocator import keep_freed_memory
from service.runtime.lanes.arena import Arena, end_of
from service.runtime.lanes.threads import lower_priority
from service.runtime.memory import trimmed_bytes
from service.runtime.network import NetworkRuntime
from service.runtime.oom import is_out_of_memory


class LaneNetworks:
    """The networks in the process of one lane."""

    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        self._networks: dict[str, NetworkRuntime] = {}

    def handle(self, request: dict[str, Any]) -> dict[str, Any]:
        """Executes the request of one line, and returns its answer. Raises any error of the network."""
        match request["do"]:
            case "load":
                card = Card.model_validate(request["card"])
                weights = Path(request["weights"])
                network = load_network(card, Materialised(weights.parent, weights, {}, ""))
                runtime = self._networks[request["network"]] = NetworkRuntime(network, "cpu", request["precision"])
                return {"bytes": runtime.memory_bytes}
            case "run":
                inputs = request["inputs"]
                outputs = self._networks[request["network"]].run(self._arena.views(inputs))
                return {"outputs": self._arena.write(outputs, end_of(inputs))}
            case "free":
                self._networks.pop(request["network"]).free()
                return {}
            case "held":
                return {"bytes": trimmed_bytes()}
            case other:
                raise ValueError(f"unknown request {other!r}")


def main() -> None:
    """See the module."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    lower_priority()
    keep_freed_memory()
    torch.set_num_threads(int(sys.argv[2]))
    networks = LaneNetworks(Arena(int(sys.argv[1])))
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)  # libraries may print; their output is no answer
    protect()
    for line in sys.stdin.buffer:
        try:
            with panics_as_errors():
                answer = networks.handle(strict_json.read(line))
        except Exception as error:
            answer = {"error": traceback.format_exc(), "out_of_memory": is_out_of_memory(error)}
        try:
            answers.write(strict_json.text(answer) + "\n")
            answers.flush()
        except OSError:  # the server has ended
            os._exit(0)


if __name__ == "__main__":
    main()
