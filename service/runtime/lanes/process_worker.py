"""A lane's process: `python -m service.runtime.lanes.process_worker HANDLE THREADS`, started by `processes.py` alone.

It runs eager networks where no other thread wants the interpreter: torch gives its lock up and takes it back after each of a
network's some hundred operations, and in the server's own process waits for it each time that the event loop or another lane is
busy.

A line of JSON comes on standard input and one goes out on standard output; arrays lie in the arena behind HANDLE.

    {"do": "load", "network": key, "card": …, "weights": path, "precision": …}
    {"do": "run", "network": key, "inputs": notes}   → {"outputs": notes}
    {"do": "free", "network": key}
    {"do": "held"}                                   → {"bytes": private memory}

What goes wrong is answered as {"error": its text, "out_of_memory": whether it was that}. Standard error is the server's. The end
of standard input is the end of the process, and no signal is that asks: those come to the server as well, from a terminal, to its
group or to its container, and it drains first.
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
from model_zoo.materialised import Materialised
from model_zoo.network import load_network
from service.observability.standard_streams import protect
from service.runtime.allocator import keep_freed_memory
from service.runtime.lanes.arena import Arena, end_of
from service.runtime.lanes.threads import lower_priority
from service.runtime.memory import trimmed_bytes
from service.runtime.network import NetworkRuntime
from service.runtime.oom import is_out_of_memory


class Worker:
    """The networks of one lane."""

    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        self._networks: dict[str, NetworkRuntime] = {}

    def obey(self, order: dict[str, Any]) -> dict[str, Any]:
        """Does what a line says and gives the answer. Raises whatever goes wrong."""
        match order["do"]:
            case "load":
                card = Card.model_validate(order["card"])
                weights = Path(order["weights"])
                network = load_network(card, Materialised(weights.parent, weights, {}, ""))
                runtime = self._networks[order["network"]] = NetworkRuntime(network, "cpu", order["precision"])
                return {"bytes": runtime.memory_bytes}
            case "run":
                inputs = order["inputs"]
                outputs = self._networks[order["network"]].run(self._arena.views(inputs))
                return {"outputs": self._arena.write(outputs, end_of(inputs))}
            case "free":
                self._networks.pop(order["network"]).free()
                return {}
            case "held":
                return {"bytes": trimmed_bytes()}
            case other:
                raise ValueError(f"nobody knows how to {other}")


def main() -> None:
    """See the module."""
    for asks in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(asks, signal.SIG_IGN)
    lower_priority()
    keep_freed_memory()
    torch.set_num_threads(int(sys.argv[2]))
    worker = Worker(Arena(int(sys.argv[1])))
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)  # whatever libraries print is no answer
    protect()
    for line in sys.stdin.buffer:
        try:
            answer = worker.obey(strict_json.read(line))
        except Exception as error:
            answer = {"error": traceback.format_exc(), "out_of_memory": is_out_of_memory(error)}
        try:
            answers.write(strict_json.text(answer) + "\n")
            answers.flush()
        except OSError:  # the server is gone
            os._exit(0)


if __name__ == "__main__":
    main()
