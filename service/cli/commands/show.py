"""`zoo show`: everything about one model, and calls to copy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.cli.connection import connect, tls_in_use
from service.cli.options import DEFAULT_SERVER, Json, Model, Server
from service.cli.rendering.console import escaped, new_table, print_json, print_line, print_note, print_table
from service.cli.rendering.formatting import format_count, format_option, format_size, model_state

if TYPE_CHECKING:
    from service.cli.local_catalog import LocalModel
    from service.client import Evidence, ModelInfo, TensorSpec


_MOST_COLUMNS = 30
"""Columns of a row model that `zoo show` lists."""
_MOST_LABELS = 5
_HEADINGS = {
    "cli": "to call it:",
    "python": "from Python:",
    "grpcurl": "with grpcurl:",
    "tritonclient": "with Triton's client, installed in an environment of its own:",
}


def show(model: Model, server: Server = DEFAULT_SERVER, as_json: Json = False) -> None:
    """Show everything about a model, and calls of it to copy: command line, Python, grpcurl, Triton's client."""
    from dataclasses import asdict

    from service.cli.local_catalog import local_model, same_model
    from service.cli.rendering.sample_calls import sample_calls
    from service.client import TimedOut, Unavailable
    from service.client.errors import TLS_REASONS

    info: ModelInfo | LocalModel
    with connect(server) as client:
        try:
            client.ready()  # not retried, so that the catalog is shown at once if there is no server
            info, live = client.model(model), True
        except (Unavailable, TimedOut) as error:
            if error.reason in TLS_REASONS:
                raise
            info, live = local_model(model), False
    known = same_model(info.name, info.weights_sha256) if live else local_model(info.name)
    calls = sample_calls(info, server, bool(tls_in_use()), known.sample if known else None)
    if as_json:
        print_json({"source": "server" if live else "catalog", "server": server, "model": asdict(info), "calls": calls})
        return
    print_note(
        f"the server at {server} says" if live else f"no server answers at {server}; this machine's catalog says"
    )
    _print_model(info)
    print_line("")
    if not (info.weights_sha256 or getattr(info, "base", "") or getattr(info, "state", "") == "READY"):
        print_line("it has no weights; to tune it on your data:")
        print_line(f"  zoo finetune {info.name} DATA --name my_model")
        return
    if not live:
        print_line("to serve it:")
        print_line(f"  zoo serve --model {info.name}")
    for kind, text in calls.items():
        print_line(_HEADINGS[kind])
        for line in text.splitlines():
            print_line(f"  {line}")


def _print_model(model: ModelInfo | LocalModel) -> None:
    rows = new_table("", "")
    rows.show_header = False
    facts = {
        "summary": model.summary,
        "family": model.family,
        "task": model.task,
        "parameters": format_count(model.parameter_count),
        "takes": model.raw_input or "tensors only",
        "tensors in": "; ".join(_signature(tensor) for tensor in model.inputs),
        "tensors out": "; ".join(_signature(tensor) for tensor in model.outputs),
        "rows in a batch": f"at most {model.max_batch_size}",
        **_runtime_facts(model),
        **_origin_facts(model),
        "licence": model.licence,
        "provenance": model.provenance,
        "paper": model.paper,
        "weights sha256": model.weights_sha256,
    }
    rows.add_row("model", escaped(model.name))
    rows.add_row("state", model_state(model))
    for fact, text in facts.items():
        if text:
            rows.add_row(fact, escaped(text))
        if fact == "takes":
            for column in _columns(model):
                rows.add_row("", escaped(column))
    print_table(rows)


def _origin_facts(model: ModelInfo | LocalModel) -> dict[str, str]:
    """How a model of this machine was checked; of a served one, where this machine has the same weights."""
    from service.cli.local_catalog import LocalModel, same_model

    found = model if isinstance(model, LocalModel) else same_model(model.name, model.weights_sha256)
    if found is None:
        return {}
    return {
        "pulled from": found.reference,
        "held-out data": ". ".join(found.figures),
        "verification": found.verification,
        "golden cases": str(found.golden_cases) if found.golden_cases else "",
        "fine-tuning": "can be a base" if found.fine_tunable else "cannot be a base",
    }


def _columns(model: ModelInfo | LocalModel) -> list[str]:
    """A line for each column that a row of the model has."""
    from service.client import ModelInfo

    if not isinstance(model, ModelInfo):
        return []
    lines = [f"{column.name}: {_listed(column.categories) or column.kind}" for column in model.columns[:_MOST_COLUMNS]]
    more = len(model.columns) - _MOST_COLUMNS
    return lines + ([f"and {more} columns more; --json has all"] if more > 0 else [])


def _runtime_facts(model: ModelInfo | LocalModel) -> dict[str, str]:
    from service.cli.rendering import runtime_notes
    from service.client import ModelInfo

    if not isinstance(model, ModelInfo):
        return {"why": model.note, "weights": model.weights_folder}
    traffic = model.traffic
    runtime = f"{model.precision} on {model.device}, {format_size(model.memory_bytes)}, loaded in {model.load_s:.1f} s"
    return {
        "runs": runtime if model.device else "",
        "tier": _optimization(model.evidence) if model.evidence else "",
        **runtime_notes.runtime_facts(model),
        "memory": _memory(model) if model.device else "",
        "options": ", ".join(f"{name}={format_option(value)}" for name, value in model.options.items()),
        "versions": ", ".join(str(number) for number in model.versions),
        "aliases": ", ".join(f"{name} is {number}" for name, number in sorted(model.aliases.items())),
        "tuned from": model.base,
        "learned": model.target_column,
        "canary": f"version {traffic.canary}, {traffic.canary_share:.0%} of the calls" if traffic.canary_share else "",
        "labels": _listed(model.labels),
    }


def _optimization(evidence: Evidence) -> str:
    """The tier and precision in use, and what was measured when the server optimized the model, in one line."""
    by = f" by {evidence.compiler}" if evidence.compiler else ""
    runs = f"{evidence.tier} {evidence.precision}{by}"
    where = f", in {evidence.processes} processes of its own" if evidence.processes else ""
    details = [] if evidence.tier == "compiled" or not evidence.candidate else [f"{evidence.candidate} was tried"]
    if evidence.speedup:
        details.append(
            f"measured at {evidence.speedup:.2f} × the rows a second, {evidence.single_speedup:.2f} × for a single row"
        )
    if evidence.cosine:
        details.append(f"largest error {evidence.max_error:.2g}, cosine {evidence.cosine:.6f}")
    if evidence.top1_agreement is not None:
        details.append(f"{evidence.top1_agreement:.0%} of decisions the same")
    if evidence.length_step:
        details.append(f"lengths just below a multiple of {evidence.length_step} are padded to it")
    if evidence.compile_s:
        details.append(f"compiled in {evidence.compile_s:.0f} s" + (", kept on disk" if evidence.cached else ""))
    if evidence.reason:
        details.append(evidence.reason)
    return f"{runs}{where}: {', '.join(details)}" if details else runs + where


def _memory(model: ModelInfo) -> str:
    beside = model.memory_bytes - model.weights_bytes
    parts = [f"{format_size(model.weights_bytes)} of weights"]
    if beside > 0:
        parts.append(f"{format_size(beside)} beside them")
    if model.growth_bytes is not None:
        parts.append(f"the server grew by {format_size(model.growth_bytes)} over the load")
    return "; ".join(parts)


def _signature(tensor: TensorSpec) -> str:
    return f"{tensor.name} {tensor.datatype} [{', '.join(str(size) for size in tensor.shape)}]"


def _listed(labels: tuple[str, ...]) -> str:
    if not labels:
        return ""
    more = f" … ({len(labels)} in all)" if len(labels) > _MOST_LABELS else ""
    return ", ".join(labels[:_MOST_LABELS]) + more
