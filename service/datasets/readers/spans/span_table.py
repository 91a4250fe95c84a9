"""Reads tables of texts with their spans: `{"text": …, "spans": [{"start": …, "end": …, "label": …}]}` on each line of a
JSONL."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from service.datasets.dataset import Columns, DatasetKind
from service.datasets.dataset_limits import DatasetLimits
from service.datasets.formatting import quoted_list
from service.datasets.readers.columns.column_roles import TARGET_NAMES, TEXT_NAMES, find_by_name, refuse_separator
from service.datasets.readers.columns.column_summary import ColumnSummary
from service.datasets.readers.columns.targets import read_split
from service.datasets.readers.parsed_example import (
    ParsedExample,
    ReaderSchema,
    Skip,
    TargetKind,
    Warn,
)
from service.datasets.readers.spans.labelled_spans import LabelledSpan, read_spans
from service.datasets.readers.tables.table import Table
from service.datasets.readers.text import text_digest
from service.errors import InvalidInput

SPAN_NAMES = ("spans", "entities", "annotations", "ner")


def find_spans(rest: Mapping[str, ColumnSummary]) -> str:
    """A column of lists with a usual name of spans; empty if there is none."""
    lists = {name: summary for name, summary in rest.items() if 2 * summary.lists > summary.non_missing}
    return find_by_name(SPAN_NAMES, lists) if find_by_name(TEXT_NAMES, rest) else ""


def infer_spans(rest: Mapping[str, ColumnSummary], columns: Columns) -> str:
    """The column of spans of a table whose kind is to be inferred; empty if nothing but its name speaks for them, or something
    speaks for another target."""
    said = columns.target or columns.time or columns.text_pair or columns.label_separator
    name = "" if said or find_by_name(TARGET_NAMES, rest) else find_spans(rest)
    return name if name and 2 * rest[name].span_lists > rest[name].filled_lists else ""


class SpanTableReader:
    """Reads each row as an example."""

    def __init__(
        self, table: Table, columns: Columns, rest: Mapping[str, ColumnSummary], limits: DatasetLimits
    ) -> None:
        """`rest`: the columns without a role. Raises InvalidInput if it is not clear which column holds the texts, or the
        spans."""
        refuse_separator(columns, "texts with labelled spans")
        text = columns.text or find_by_name(TEXT_NAMES, rest)
        target = columns.target or find_spans(rest)
        for role, name in (("text", text), ("target", target)):
            if not name:
                what = "the text" if role == "text" else "the spans"
                raise InvalidInput(
                    f"header.columns.{role}",
                    f"cannot tell which column holds {what}; name one of {quoted_list(tuple(rest))}",
                )
        self._table = table
        self._columns = columns.model_copy(update={"text": text, "target": target})
        self._limits = limits

    def schema(self) -> ReaderSchema:
        """Known from the start."""
        return ReaderSchema(DatasetKind.SPANS, self._columns, TargetKind.SPANS)

    def input_count(self) -> int:
        """See `Reader`."""
        return self._table.count

    def examples(self, skip: Skip, warn: Warn) -> Iterator[ParsedExample]:
        """One for each row, in order."""
        for row in self._table.rows(warn):
            text, split, problem = row.cells.get(self._columns.text), "", row.problem
            spans: list[LabelledSpan] = []
            if not problem and (not isinstance(text, str) or not text.strip()):
                problem = "the text is empty" if text is None or isinstance(text, str) else "the text is no text"
            if not problem and row.cells.get(self._columns.target) is None:
                problem = "the target is empty"
            if not problem:
                given = row.cells.get(self._columns.target)
                spans, problem = read_spans(given, str(text), self._limits.name_characters)
            if not problem and self._columns.split:
                split, problem = read_split(row.cells.get(self._columns.split))
            if problem:
                skip(self._table.name, row.number, problem)
            else:
                yield span_example(str(text), spans, self._table.name, row.number, split)


def span_example(text: str, spans: Sequence[LabelledSpan], file: str, row: int, split: str) -> ParsedExample:
    """The example of a text; its classes are the labels of its spans."""
    written = [{"start": span.start, "end": span.end, "label": span.label} for span in spans]
    labels = tuple(sorted({span.label for span in spans}))
    return ParsedExample({"text": text, "spans": written}, text_digest(text), file, row=row, labels=labels, split=split)
