"""The page of the metrics: `service/observability/metric_definitions.py` → `docs/metrics.md`.

    python scripts/metrics_page.py                # rewrites docs/metrics.md
    python scripts/metrics_page.py --out FILE     # the same into FILE (tests/observability/test_metrics_page.py)

The metrics of the process, of Python and of its garbage collector are those that the client library shows on Linux.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from service.observability.buckets import Buckets  # noqa: E402
from service.observability.metric_definitions import RATIO, ROWS, SECONDS, Definition, definitions  # noqa: E402
from service.observability.metrics import registry_with_process_metrics  # noqa: E402

PAGE = ROOT / "docs" / "metrics.md"
BUCKETS = {SECONDS: "seconds", ROWS: "rows", RATIO: "ratio"}

HEAD = """\
<!-- Generated from service/observability/metric_definitions.py by `make docs-metrics`; do not edit. A test compares. -->

# Metrics

`http://127.0.0.1:8002/metrics`, in base units. Label values come from the catalog, from the registry and from fixed sets; a
request cannot create new ones. Counters and histograms begin at 0 when the server starts; `rate` and `increase` allow for that.

`deploy/prometheus/` has a configuration of Prometheus with recording rules and alerts, and one of Alertmanager. `deploy/grafana/`
has dashboards. [operations.md](operations.md#alerts) says what to do about each alert.

## Metrics of Zoo

"""

FORMATS = """
## Formats

The `Accept` header of the scraper chooses: Prometheus's text format, OpenMetrics with exemplars, or Prometheus's protobuf format
with native histograms and exemplars.

**Native histograms** have buckets whose ends grow by a factor of 2^(1/8) = 1.09, so a quantile is off by 4 % at most. A
Prometheus server asks for them with `--enable-feature=native-histograms` (2.40 to 3.8), or with `scrape_native_histograms: true`
in its configuration (since 3.8). It then drops the classic buckets, which the rules and dashboards of `deploy/` use, unless
`always_scrape_classic_histograms: true` is set (before 3.0 `scrape_classic_histograms`, since 2.45). Before 2.45 choose one of
the two. The zero bucket ends at 2^-20 s of the seconds, 2^-1 of the rows, and 2^-10 of the ratios.

**Exemplars** tie a bucket of `zoo_request_duration_seconds` to the trace of one call in it. Prometheus stores them with
`--enable-feature=exemplar-storage`.

Classic buckets end at:

"""

QUERIES = """
## Queries

```
rate(zoo_batch_size_sum[1m]) / rate(zoo_batch_size_count[1m])                                  # rows a batch
rate(zoo_predicted_execute_seconds_sum[5m]) / rate(zoo_batch_execute_seconds_sum[5m])          # near 1: predictions are accurate
histogram_quantile(0.99, sum by (le, model) (rate(zoo_request_duration_seconds_bucket[5m])))   # p99
histogram_quantile(0.99, sum by (model) (rate(zoo_request_duration_seconds[5m])))              # p99 of native histograms
sum by (model, code) (rate(zoo_requests_total[1m]))                                            # calls a second
rate(zoo_device_busy_seconds_total[1m])                                                        # lanes that are busy
time() - zoo_job_last_progress_timestamp_seconds                                               # seconds without progress of a job
```
"""

PROCESS = """
## Metrics of the process and of Python

Of the server's process alone, without its child processes; one series each, for its whole life, on Linux.

"""


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table of Markdown."""
    head = [*head]
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n".replace("|  |", "| |").replace("|  |", "| |") for cells in lines)


def row(metric: Definition) -> tuple[str, ...]:
    """A metric of Zoo."""
    meaning = f"{metric.help} {metric.details}".strip()
    labels = ", ".join(metric.labels)
    return f"`{metric.name}`", metric.kind, labels, metric.unit, meaning, metric.series, metric.cardinality


def bounds(buckets: Buckets) -> str:
    """The classic bounds."""
    return ", ".join(f"{bound:g}" for bound in buckets.classic)


def process_rows() -> Iterator[tuple[str, ...]]:
    """The metrics that are not Zoo's own."""
    for metric in registry_with_process_metrics().collect():
        name = metric.name + ("_total" if metric.type == "counter" else "")
        labels = sorted({label for sample in metric.samples for label in sample.labels})
        yield f"`{name}`", metric.type, ", ".join(labels), metric.documentation


def page() -> str:
    """The whole page."""
    columns = ("metric", "type", "labels", "unit", "meaning", "a series exists", "series")
    return "".join(
        (
            HEAD,
            table(columns, map(row, definitions())),
            FORMATS,
            table(("unit", "bounds"), ((name, bounds(buckets)) for buckets, name in BUCKETS.items())),
            QUERIES,
            PROCESS,
            table(("metric", "type", "labels", "meaning"), process_rows()),
        )
    )


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Write docs/metrics.md from the definitions of the metrics.")
    parser.add_argument("--out", type=Path, default=PAGE, help="where the page goes (default: docs/metrics.md)")
    parser.parse_args().out.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
