"""A network in its makers' own library, in a process of its own.

    python -m benchmarks.library.participant LIBRARY FOLDER CORES   one command a JSON line in, one answer a JSON line out

The library has all cores and does everything from the raw input on, as its documentation shows it: timm's transform and network
on batches, `SentenceTransformer.encode`, or a pipeline of transformers with `batch_size`. Commands:

    load      the seconds of building the network once more, with all modules imported
    single    the median time of a call with one input
    sweep     inputs a second by batch size, and the best size
    rate      inputs a second at one batch size, and the peak memory of this process
"""

from __future__ import annotations

import io
import itertools
import json
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch

from benchmarks.load import inputs
from service.types import AudioInstance, ImageInstance, TextInstance

BATCHES = (1, 4, 8, 16, 32)

Call = Callable[[Sequence[Any]], object]
"""Runs raw inputs as one batch."""


def timm_call(folder: str) -> Call:
    """Encoded photos through timm's transform and network."""
    import timm
    from PIL import Image

    data: Any = timm.data  # untyped upstream
    network: Any = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    transform: Any = data.create_transform(**data.resolve_model_data_config(network), is_training=False)

    def call(raw: Sequence[Any]) -> object:
        batch = torch.stack([transform(Image.open(io.BytesIO(one)).convert("RGB")) for one in raw])
        return torch.softmax(network(batch), dim=-1).topk(5)

    return call


def sentence_call(folder: str) -> Call:
    """Texts through SentenceTransformer."""
    from sentence_transformers import SentenceTransformer

    network = SentenceTransformer(folder, device="cpu", local_files_only=True)
    return lambda raw: network.encode([str(one) for one in raw], batch_size=len(raw))


def pipeline_call(task: str, folder: str) -> Call:
    """Raw inputs through a pipeline of transformers; photos and sounds are decoded first, as it wants them."""
    import soundfile
    import transformers
    from PIL import Image

    pipeline: Any = transformers.pipeline  # one overload for each task
    pipe = pipeline(task, model=folder, device="cpu", dtype=torch.float32)

    def read(one: Any) -> Any:
        if isinstance(one, str):
            return one
        if task.startswith("audio"):
            samples, rate = soundfile.read(io.BytesIO(one), dtype="float32")
            return {"raw": samples, "sampling_rate": rate}
        return Image.open(io.BytesIO(one)).convert("RGB")

    return lambda raw: pipe([read(one) for one in raw], batch_size=len(raw))


def open_library(library: str, folder: str) -> Call:
    """The network, ready to be called."""
    if library == "timm":
        return timm_call(folder)
    if library == "sentence-transformers":
        return sentence_call(folder)
    return pipeline_call(library, folder)


def raw_inputs(library: str) -> list[Any]:
    """The inputs that Zoo's callers send: photos, texts or sounds."""
    kind = "text" if library in ("sentence-transformers", "text-classification") else "image"
    found = inputs.instances("audio" if library.startswith("audio") else kind)
    return [
        one.data.decode() if isinstance(one, TextInstance) else one.data
        for one in found
        if isinstance(one, TextInstance | ImageInstance | AudioInstance)
    ]


class Library:
    """One network of a library, and the measurements of it."""

    def __init__(self, library: str, folder: str) -> None:
        self._open = partial(open_library, library, folder)
        self._raw = raw_inputs(library)
        self._call = self._open()

    def load(self) -> dict[str, Any]:
        """Seconds of building the network and of its first answer."""
        began = time.perf_counter()
        self._call = self._open()
        self._call(self._raw[:1])
        return {"load_s": time.perf_counter() - began}

    def single(self, seconds: float) -> dict[str, Any]:
        """The median time of a call with one input, in milliseconds."""
        times = self._times(1, seconds)
        return {"p50_ms": 1000.0 * statistics.median(times)}

    def sweep(self, seconds: float) -> dict[str, Any]:
        """Inputs a second by batch size, and the best size."""
        seen = {rows: self.rate(rows, seconds)["rows_s"] for rows in BATCHES}
        return {
            "rows": max(seen, key=lambda rows: seen[rows]),
            "seen": {str(key): value for key, value in seen.items()},
        }

    def rate(self, rows: int, seconds: float) -> dict[str, Any]:
        """Inputs a second, and the peak memory of this process so far."""
        times = self._times(rows, seconds)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
        return {"rows_s": rows * len(times) / sum(times), "peak_mib": peak}

    def _times(self, rows: int, seconds: float) -> list[float]:
        turns = itertools.cycle(self._raw)
        self._call([next(turns) for _ in range(rows)])
        times: list[float] = []
        end = time.perf_counter() + seconds
        while not times or time.perf_counter() < end:
            batch = [next(turns) for _ in range(rows)]
            began = time.perf_counter()
            self._call(batch)
            times.append(time.perf_counter() - began)
        return times


def main() -> None:
    """The command line."""
    library, folder, cores = sys.argv[1:]
    torch.set_num_threads(int(cores))
    with torch.inference_mode():
        network = Library(library, folder)
        commands: dict[str, Callable[..., dict[str, Any]]] = {
            "load": network.load,
            "single": network.single,
            "sweep": network.sweep,
            "rate": network.rate,
        }
        for line in sys.stdin:
            command = json.loads(line)
            print(json.dumps(commands[command.pop("do")](**command)), flush=True)


if __name__ == "__main__":
    main()
