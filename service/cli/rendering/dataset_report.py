"""The validation report of a dataset, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.cli.rendering.console import print_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from service.client import Dataset, DatasetReport

_MOST_CLASSES = 12
"""Classes whose counts a line shows."""
_MOST_SKIPPED = 5
"""Skipped examples that the report after an upload names."""


def print_dataset_report(dataset: Dataset, most_skipped: int = _MOST_SKIPPED) -> None:
    """Prints what was inferred from a dataset, its counts, and what was left out."""
    if dataset.damaged:
        print_line(f"dataset {dataset.id} is damaged: {dataset.damaged}", "red")
        print_line(f"  `zoo datasets delete {dataset.id}` removes it; upload the data again")
        return
    report = dataset.report
    name = f" ({dataset.display_name})" if dataset.display_name else ""
    classes = f" of {len(report.class_counts)} classes" if report.class_counts else ""
    print_line(f"dataset {dataset.id}{name}: {report.examples} examples{classes}, {dataset.kind}")
    for line in report.inferred:
        print_line(f"  {line}")
    if report.class_counts:
        print_line(f"  {_counts(report.class_counts)}")
    if report.split_counts:
        print_line(f"  split as given: {_counts(report.split_counts)}")
    if report.target_statistics:
        statistics = ", ".join(f"{name} {value:.4g}" for name, value in sorted(report.target_statistics.items()))
        print_line(f"  target: {statistics}")
    if report.duplicates:
        contents = "content occurs" if report.duplicates == 1 else "contents occur"
        print_line(f"  {report.duplicates} {contents} more than once")
    if dataset.left_out:
        print_line(f"  not sent {len(dataset.left_out)}:", "yellow")
        for file in dataset.left_out[:most_skipped]:
            print_line(f"    {file.name} {file.reason}", "yellow")
        if len(dataset.left_out) > most_skipped:
            print_line(f"    … and {len(dataset.left_out) - most_skipped} more", "yellow")
    if report.skipped_count:
        _print_skipped(report, dataset.id, most_skipped)
    for warning in report.warnings:
        print_line(f"  warning: {warning}", "yellow")


def _print_skipped(report: DatasetReport, dataset_id: str, most_skipped: int) -> None:
    of_inputs = f" of {report.input_count}" if report.input_count else ""
    print_line(f"  left out {report.skipped_count}{of_inputs}:", "yellow")
    if len(report.skipped_reasons) > 1:
        for reason, count in sorted(report.skipped_reasons.items(), key=lambda item: -item[1]):
            print_line(f"    {count} × {reason}", "yellow")
    for skipped in report.skipped[:most_skipped]:
        row = f", row {skipped.row}" if skipped.row else ""
        print_line(f"    {skipped.file}{row}: {skipped.reason}", "yellow")
    if report.skipped_count > most_skipped and most_skipped < len(report.skipped):
        print_line(f"    … `zoo datasets show {dataset_id}` has more", "yellow")


def _counts(counts: Mapping[str, int]) -> str:
    """The counts of the largest classes, largest first."""
    sorted_counts = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    more = f" … ({len(sorted_counts)} in all)" if len(sorted_counts) > _MOST_CLASSES else ""
    return ", ".join(f"{name} {number}" for name, number in sorted_counts[:_MOST_CLASSES]) + more
