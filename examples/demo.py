"""A tour of Zoo in two minutes: `make demo`.

It starts a server on free ports, calls real networks with real photos, speech and sentences, sends concurrent calls and shows
the sizes of their batches, fine-tunes a CNN, a Transformer and an RNN on new data and calls the results, prints the changed
metrics, and stops the server. The server has a home of its own, which is removed at the end; it shares the weights of the user's.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from rich.table import Table

from examples.fetch_data import MOODS, TOPICS, make_photos, make_texts
from service.client import AsyncClient, Classification, Client, Embedding, SamplesInstance, Segments
from service.settings import SettingsError, load_settings

HERE = Path(__file__).parent
PHOTOS = [HERE / name for name in ("cat.jpg", "coffee.jpg", "rocket.jpg")]
SPEECH = [HERE / name for name in ("speech.flac", "speech_long.flac")]
QUERY = "How do I keep my cat off the furniture?"
SENTENCES = [
    "Training a kitten to stay away from the sofa.",
    "A dog learns to fetch the newspaper.",
    "Central banks raised interest rates again.",
    "The rocket lifted off shortly before dawn.",
]
BURST = 64
NEW_TEXTS = [
    "The midfielder scored twice before the referee blew the whistle.",
    "My compiler complains about a missing semicolon again.",
    "Simmer the tomatoes with garlic and basil for an hour.",
]
NEW_LINES = [
    "Captain Kirk beamed down to the planet with Spock and McCoy.",
    "Yow!  Am I having FUN yet?  I want a DISCOUNT on CORN DOGS!!",
]
SHOWN_METRICS = (
    "zoo_requests_total",
    "zoo_jobs",
    "zoo_batch_size_count",
    "zoo_batch_size_sum",
    "zoo_device_busy_seconds_total",
)

console = Console(highlight=False)


@contextmanager
def temporary_home() -> Iterator[Path]:
    """A home in which only the weights are the user's, so that no data set and no tuned model stays behind."""
    try:
        users_home = load_settings().home
    except SettingsError as error:
        raise SystemExit(str(error)) from None
    with tempfile.TemporaryDirectory(prefix="zoo-demo-") as folder:
        for name in ("weights", "downloads"):
            shared = users_home / name
            shared.mkdir(parents=True, exist_ok=True)
            (Path(folder) / name).symlink_to(shared)
        yield Path(folder)


@contextmanager
def running_server(home: Path) -> Iterator[dict[str, Any]]:
    """A server on free ports until the block ends; yields the ports from its log."""
    environment = {**os.environ, "ZOO_LOG_FORMAT": "json", "ZOO_HOME": str(home), "ZOO_DATABASE_URL": ""}
    command = [str(Path(sys.executable).with_name("zoo")), "serve", "--port", "0", "--http-port", "0"]
    server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    ports: dict[str, Any] = {}
    try:
        for line in server.stderr:
            event = json.loads(line) if line.startswith("{") else {"event": line.strip()}
            match event["event"]:
                case "live":
                    ports = event
                    console.print(f"live on port {event['grpc_port']}, loading …")
                case "fetching weights":
                    console.print(f"  fetching {event['what']}: {event['percent']} %")
                case "model is ready":
                    console.print(f"  {event['model']} is ready after {event['seconds']} s")
                case "model is unavailable":
                    console.print(f"  {event['model']} is unavailable: {event['reason']}")
                case "ready":
                    break
                case "no model could be loaded":
                    raise SystemExit("no model could be loaded; the reasons are above")
        else:
            raise SystemExit("the server ended before it was ready")
        yield ports
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=60)
        console.print(f"\nthe server drained and ended with exit code {server.returncode}")
    finally:
        if server.poll() is None:
            server.kill()


def photos(zoo: Client) -> None:
    """The CNN classifies photos."""
    console.rule("[bold]CNN: what is on these photos?")
    for photo, answer in zip(PHOTOS, zoo.predict("efficientnet_lite0", PHOTOS, top_k=3), strict=True):
        assert isinstance(answer, Classification)
        best = ", ".join(f"{label.name} {label.score:.0%}" for label in answer.labels)
        console.print(f"  {photo.name:12} {best}")


def speech(zoo: Client) -> None:
    """The RNN finds speech in recordings, and no speech in noise."""
    console.rule("[bold]RNN: where does somebody speak?")
    noise = np.random.default_rng(7).normal(0.0, 0.05, 3 * 16_000).astype(np.float32)
    inputs: list[Path | SamplesInstance] = [*SPEECH, SamplesInstance(noise, 16_000)]
    for name, answer in zip([*(p.name for p in SPEECH), "noise"], zoo.predict("silero_vad", inputs), strict=True):
        assert isinstance(answer, Segments)
        found = ", ".join(f"{s.start_s:.2f} to {s.end_s:.2f} s" for s in answer.segments) or "nowhere"
        console.print(f"  {name:18} {found}")


def meaning(zoo: Client) -> None:
    """The Transformer ranks sentences by their similarity to a question."""
    console.rule("[bold]Transformer: which sentence is nearest in meaning?")
    question, *others = [
        answer.values
        for answer in zoo.predict("all_minilm_l6_v2", [QUERY, *SENTENCES])
        if isinstance(answer, Embedding)
    ]
    console.print(f"  {QUERY}")
    for similarity, sentence in sorted(
        ((float(question @ v), s) for v, s in zip(others, SENTENCES, strict=True)), reverse=True
    ):
        console.print(f"    {similarity:5.2f}  {sentence}")


async def burst(server: str) -> None:
    """Concurrent callers share batches."""
    console.rule(f"[bold]{BURST} callers at once")
    rows: dict[str, Counter[int]] = {"efficientnet_lite0": Counter(), "all_minilm_l6_v2": Counter()}
    async with AsyncClient(server) as zoo:

        async def call(i: int) -> None:
            model = "efficientnet_lite0" if i % 2 else "all_minilm_l6_v2"
            instance = PHOTOS[i % len(PHOTOS)] if i % 2 else SENTENCES[i % len(SENTENCES)]
            (answer,) = await zoo.predict(model, instance)
            assert isinstance(answer, Classification | Embedding)
            rows[model][answer.timing.batch_rows] += 1

        await asyncio.gather(*(call(i) for i in range(BURST)))
    for model, sizes in rows.items():
        console.print(
            f"  {model:20} calls by size of their batch: " + ", ".join(f"{n} in {s}" for s, n in sorted(sizes.items()))
        )


def fine_tuning(zoo: Client) -> None:
    """From a user's data to a served version: photos, topics and moods, each on a pretrained network."""
    console.rule("[bold]Fine-tuning: your data, a pretrained network")
    try:
        examples: list[tuple[str, Path, str, Sequence[Path | str]]] = [
            ("efficientnet_lite0", make_photos(), "demo_photos", [HERE / "cat.jpg", HERE / "rocket.jpg"]),
            ("all_minilm_l6_v2", make_texts("topics.csv", TOPICS), "demo_topics", NEW_TEXTS),
            ("char_lstm", make_texts("moods.csv", MOODS), "demo_moods", NEW_LINES),
        ]
    except SystemExit as absent:  # the data is in Debian packages, which other systems lack
        console.print(f"  left out: {absent}")
        return
    for base, data, name, inputs in examples:
        began = time.monotonic()
        done = zoo.finetune(base, data, name)
        assert done.version is not None
        assert done.version.lineage is not None
        ours, guess = done.version.lineage.metrics["accuracy"], done.version.lineage.baseline_metrics["accuracy"]
        console.print(
            f"  {base} → {name} version {done.version.number} in {time.monotonic() - began:.0f} s:"
            f" right {ours:.0%} of the time on held-out data, a guess would be {guess:.0%}"
        )
        for instance, answer in zip(inputs, zoo.predict(name, inputs, top_k=2), strict=True):
            assert isinstance(answer, Classification)
            best = ", ".join(f"{label.name} {label.score:.0%}" for label in answer.labels)
            console.print(f"    {instance.name if isinstance(instance, Path) else instance[:50]:52} {best}")


def read_metrics(port: int) -> dict[tuple[str, str], float]:
    """Zoo's own series, as Prometheus reads them."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy for loopback
    with direct.open(f"http://127.0.0.1:{port}/metrics", timeout=10) as page:
        families = list(text_string_to_metric_families(page.read().decode()))
    return {
        (sample.name, " ".join(f"{k}={v}" for k, v in sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
        if sample.name.startswith("zoo_") and not sample.name.endswith(("_bucket", "_created"))
    }


def show_changes(before: dict[tuple[str, str], float], after: dict[tuple[str, str], float]) -> None:
    """The series that changed during the tour."""
    console.rule("[bold]Metrics that moved")
    table = Table("metric", "labels", "by", box=None)
    for (name, labels), value in sorted(after.items()):
        change = value - before.get((name, labels), 0.0)
        if change and name in SHOWN_METRICS and "model= " not in labels:
            table.add_row(name, labels, f"{change:g}" if change == int(change) else f"{change:.2f}")
    console.print(table)


def main() -> None:
    """The tour."""
    with temporary_home() as home, running_server(home) as ports:
        server = f"127.0.0.1:{ports['grpc_port']}"
        before = read_metrics(ports["http_port"])
        with Client(server) as zoo:
            photos(zoo)
            speech(zoo)
            meaning(zoo)
        asyncio.run(burst(server))
        with Client(server) as zoo:
            fine_tuning(zoo)
        show_changes(before, read_metrics(ports["http_port"]))


if __name__ == "__main__":
    main()
