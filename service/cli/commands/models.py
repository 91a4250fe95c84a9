"""`zoo models` and `zoo show`: what can be served, by the server where one answers, else by this machine's catalog."""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.cli.options import DEFAULT_SERVER, EXAMPLES, Json, Model, Server
from service.cli.rendering.console import (
    escaped,
    format_count,
    format_option,
    format_size,
    new_table,
    print_json,
    print_line,
    print_note,
    print_table,
)

if TYPE_CHECKING:
    from service.cli.local_catalog import LocalModel
    from service.client import Evidence, ModelInfo, TensorSpec


_COLUMNS = 30
"""Shown of a row."""


def models(server: Server = DEFAULT_SERVER, as_json: Json = False) -> None:
    """List the models that can be served, and their states."""
    from dataclasses import asdict

    from service.cli.local_catalog import local_models
    from service.client import Client

    with Client(server) as client:
        known = client.status()
    listed: list[ModelInfo] | list[LocalModel] = list(known.models) if known.live else local_models()
    if as_json:
        source = "server" if known.live else "catalog"
        print_json({"source": source, "server": server, "models": [asdict(model) for model in listed]})
        return
    if known.live:
        print_note(f"models of the server at {server}" + (f" ({known.problem})" if known.problem else ""))
    else:
        print_note(f"no server answers at {server}, so this is the catalog of this machine")
    rows = new_table("model", "state", "family", "task", "parameters", "summary", right=("parameters",))
    for model in listed:
        words = (model.family, model.task, format_count(model.parameter_count), model.summary)
        rows.add_row(escaped(model.name), _state(model), *(escaped(word) for word in words))
    print_table(rows)


def show(model: Model, server: Server = DEFAULT_SERVER, as_json: Json = False) -> None:
    """Show all that is known of one model, and a line to call it."""
    from dataclasses import asdict

    from service.cli.local_catalog import local_model
    from service.client import Client, TimedOut, Unavailable

    shown: ModelInfo | LocalModel
    with Client(server) as client:
        try:
            client.ready()  # not retried, so that without a server the catalog is shown at once
            shown, live = client.model(model), True
        except (Unavailable, TimedOut):
            shown, live = local_model(model), False
    if as_json:
        print_json({"source": "server" if live else "catalog", "server": server, "model": asdict(shown)})
        return
    print_note(
        f"as the server at {server} has it" if live else f"no server answers at {server}; this machine's catalog says"
    )
    _print_model(shown)
    print_line("")
    if not live:
        print_line("to serve it:")
        print_line(f"  zoo serve --model {shown.name}")
    where = "" if server == DEFAULT_SERVER else f"--server {server} "
    print_line("to call it:")
    print_line(f"  zoo predict {where}{shown.name} {EXAMPLES.get(shown.raw_input, 'INPUT')}")


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
        **_whereabouts(model),
        "licence": model.licence,
        "provenance": model.provenance,
        "paper": model.paper,
        "weights sha256": model.weights_sha256,
    }
    rows.add_row("model", escaped(model.name))
    rows.add_row("state", _state(model))
    for fact, text in facts.items():
        if text:
            rows.add_row(fact, escaped(text))
        if fact == "takes":
            for column in _columns(model):
                rows.add_row("", escaped(column))
    print_table(rows)


def _columns(model: ModelInfo | LocalModel) -> list[str]:
    """A line for each column that a row of the model has."""
    from service.client import ModelInfo

    if not isinstance(model, ModelInfo):
        return []
    lines = [f"{column.name}: {_some(column.categories) or column.kind}" for column in model.columns[:_COLUMNS]]
    more = len(model.columns) - _COLUMNS
    return lines + ([f"and {more} columns more; --json has all"] if more > 0 else [])


def _whereabouts(model: ModelInfo | LocalModel) -> dict[str, str]:
    from service.cli.rendering import runtime_notes
    from service.client import ModelInfo

    if not isinstance(model, ModelInfo):
        return {"weights": model.weights_folder}
    traffic = model.traffic
    here = f"{model.precision} on {model.device}, {format_size(model.memory_bytes)}, loaded in {model.load_s:.1f} s"
    return {
        "runs": here if model.device else "",
        "made fast": _evidence(model.evidence) if model.evidence else "",
        **runtime_notes.runtime_facts(model),
        "memory": _memory(model) if model.device else "",
        "options": ", ".join(f"{name}={format_option(value)}" for name, value in model.options.items()),
        "versions": ", ".join(str(number) for number in model.versions),
        "aliases": ", ".join(f"{name} is {number}" for name, number in sorted(model.aliases.items())),
        "tuned from": model.base,
        "learned": model.target_column,
        "canary": f"version {traffic.canary}, {traffic.canary_share:.0%} of the calls" if traffic.canary_share else "",
        "labels": _some(model.labels),
    }


def _evidence(evidence: Evidence) -> str:
    """What runs, and what was measured when it was to be made faster, in one line."""
    runs = f"{evidence.tier} {evidence.precision}"
    where = f", in {evidence.processes} processes of its own" if evidence.processes else ""
    told = [] if evidence.candidate in ("", runs) else [f"{evidence.candidate} was tried"]
    if evidence.speedup:
        told.append(
            f"measured at {evidence.speedup:.2f} × the rows a second, {evidence.single_speedup:.2f} × for a single row"
        )
    if evidence.cosine:
        told.append(f"largest error {evidence.max_error:.2g}, cosine {evidence.cosine:.6f}")
    if evidence.top1_agreement is not None:
        told.append(f"{evidence.top1_agreement:.0%} of decisions the same")
    if evidence.length_step:
        told.append(f"lengths just below a multiple of {evidence.length_step} are padded to it")
    if evidence.compile_s:
        told.append(f"compiled in {evidence.compile_s:.0f} s" + (", kept on disk" if evidence.cached else ""))
    if evidence.reason:
        told.append(evidence.reason)
    return f"{runs}{where}: {', '.join(told)}" if told else runs + where


def _memory(model: ModelInfo) -> str:
    beside = model.memory_bytes - model.weights_bytes
    parts = [f"{format_size(model.weights_bytes)} of weights"]
    if beside > 0:
        parts.append(f"{format_size(beside)} beside them")
    if model.growth_bytes is not None:
        parts.append(f"the server grew by {format_size(model.growth_bytes)} over the load")
    return "; ".join(parts)


def _state(model: ModelInfo | LocalModel) -> str:
    from service.client import ModelInfo

    if not isinstance(model, ModelInfo):
        return "downloaded" if model.downloaded else "not downloaded"
    return escaped(f"{model.state}: {model.state_reason}" if model.state_reason else model.state)


def _signature(tensor: TensorSpec) -> str:
    return f"{tensor.name} {tensor.datatype} [{', '.join(str(size) for size in tensor.shape)}]"


def _some(labels: tuple[str, ...]) -> str:
    if not labels:
        return ""
    more = f" … ({len(labels)} in all)" if len(labels) > 5 else ""
    return ", ".join(labels[:5]) + more
