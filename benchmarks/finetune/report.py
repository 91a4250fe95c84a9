"""Writes docs/finetune-benchmarks.md from the figures of `run.py`: a table of ratios beside the aims, with the conditions."""

from __future__ import annotations

import argparse
import json
import platform
from pathlib import Path
from typing import Any

import torch

from benchmarks.finetune.run import OUT
from benchmarks.paths import DOCS

DOC = DOCS / "finetune-benchmarks.md"
BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"

ROWS = (
    (
        "head",
        "times as fast, end to end",
        "`head` on photos: ten epochs of a plain frozen-backbone loop ÷ `zoo finetune`, both end to end",
        "≥ 10",
    ),
    ("head", "accuracy", "… accuracy of the head", "≥ the script's"),
    ("head", "accuracy of the plain script", "… accuracy of the script", ""),
    (
        "photos",
        "accuracy",
        "photos, 8 classes, EfficientNet-lite0, `head`: accuracy over five folds",
        "≥ 0.90",
    ),
    ("topics", "accuracy", "texts, 10 topics, MiniLM, `head`: accuracy over five folds", "≥ 0.76"),
    ("topics", "scikit-learn on the same features", "… scikit-learn's logistic regression on the same features", ""),
    (
        "photos",
        "scikit-learn on the same features",
        "photos: scikit-learn's logistic regression on the same features",
        "",
    ),
    (
        "full",
        "seconds of an epoch ÷ plain script",
        "`full` on photos: seconds of an epoch ÷ plain script, as many threads",
        "≤ 1.1",
    ),
    ("full", "accuracy", "… accuracy after three epochs", "that of the script"),
    ("full", "accuracy of the plain script", "… accuracy of the script", ""),
    (
        "heads",
        "calls/s of 100 heads ÷ the base",
        "100 heads on one backbone, 32 callers: calls/s ÷ the base alone",
        "≥ 0.9",
    ),
    ("heads", "memory of 100 heads ÷ the base", "… memory of the server ÷ with the base alone", "≤ 1.1"),
    ("separate", "calls/s of 100 heads ÷ 100 models", "… calls/s ÷ 100 `full` models, all eager", ""),
    ("separate", "memory of 100 heads ÷ 100 models", "… memory ÷ 100 `full` models", ""),
    (
        "beside",
        "p99 beside a job ÷ without",
        "p99 of calls at a third of capacity, beside a `full` job ÷ without",
        "≤ 1.3",
    ),
    ("beside", "p50 beside a job ÷ without", "… p50", ""),
    (
        "live",
        "seconds from the worker's end to an answer",
        "`head`: seconds from the end of the job's worker to the first answer",
        "≤ 1",
    ),
)


def table(figures: dict[str, Any]) -> str:
    """The measured figures beside the aims; figures that are missing are left out."""
    lines = ["| what | aim | measured | rounds |", "|---|---|---|---|"]
    for scenario, key, title, aim in ROWS:
        found = figures.get(scenario, {})
        value = found.get("summary", {}).get(key)
        if value is not None:
            low, high = found["ranges"][key]
            lines.append(f"| {title} | {aim} | {value:.3g} | {low:.3g} to {high:.3g} |")
    return "\n".join(lines)


def main() -> None:
    """The command line: write the table between the markers of the document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--figures", type=Path, default=OUT)
    given = parser.parse_args()
    figures = json.loads(given.figures.read_text())
    conditions = (
        f"torch {torch.__version__.partition('+')[0]}, Python {platform.python_version()}, {platform.machine()}"
    )
    text = DOC.read_text(encoding="utf-8")
    head, rest = text.split(BEGIN)
    tail = rest.split(END)[1]
    DOC.write_text(f"{head}{BEGIN}\n{table(figures)}\n\n{conditions}.\n{END}{tail}", encoding="utf-8")


if __name__ == "__main__":
    main()
