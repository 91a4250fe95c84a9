"""What an operator looks at first: are requests answered, in time, and by what."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard

from .panels import INFERENCE, RATE, TARGETS, Level, Query, graph, number, page

CALLS = f"zoo_requests_total{{{TARGETS}, {INFERENCE}}}"
DURATIONS = f"zoo_request_duration_seconds_bucket{{{TARGETS}, {INFERENCE}}}"


def overview() -> dashboard.Dashboard:
    """The dashboard."""
    return (
        page("zoo-overview", "Zoo: overview", "Requests, errors, latency and load of all servers.")
        .with_row(dashboard.Row("Now"))
        .with_panel(
            number(
                "Servers ready",
                "Servers that take requests.",
                "none",
                Query(f"sum(zoo_ready{{{TARGETS}}})"),
            )
        )
        .with_panel(
            number(
                "Alerts that fire",
                "By the rules in deploy/prometheus; docs/operations.md says what to do.",
                "none",
                Query('count(ALERTS{alertname=~"Zoo.+", alertstate="firing"}) or vector(0)'),
                [Level(1, "red")],
            )
        )
        .with_panel(number("Requests", "Inference calls a second.", "reqps", Query(f"sum(rate({CALLS}{RATE}))")))
        .with_panel(
            number(
                "Errors",
                "Share of the calls of the last five minutes that failed through the server's fault.",
                "percentunit",
                Query('max(job:zoo_request_errors:ratio_rate5m{job=~"$job"})'),
                [Level(0.001, "orange"), Level(0.01, "red")],
                decimals=2,
            )
        )
        .with_panel(
            number(
                "Slow",
                "Share of the calls of the last five minutes that took more than 0.5 s.",
                "percentunit",
                Query('max(job:zoo_request_slow:ratio_rate5m{job=~"$job"})'),
                [Level(0.01, "orange"), Level(0.1, "red")],
                decimals=2,
            )
        )
        .with_panel(
            number(
                "Models without a version",
                "Versions whose last load failed.",
                "none",
                Query(f"sum(zoo_model_load_failed{{{TARGETS}}}) or vector(0)"),
                [Level(1, "red")],
            )
        )
        .with_row(dashboard.Row("Requests"))
        .with_panel(
            graph(
                "Requests by model",
                "Inference calls a second. Those that named no known model have none.",
                "reqps",
                Query(f"sum by (model) (rate({CALLS}{RATE}))", "{{model}}"),
                stacked=True,
            )
        )
        .with_panel(
            graph(
                "Requests by status",
                "Inference calls a second, by gRPC status code.",
                "reqps",
                Query(f"sum by (code) (rate({CALLS}{RATE}))", "{{code}}"),
                stacked=True,
            )
        )
        .with_panel(
            graph(
                "Latency",
                "Of inference calls, from arrival to reply, with traces as exemplars.",
                "s",
                *(
                    Query(f"histogram_quantile({q}, sum by (le) (rate({DURATIONS}{RATE})))", f"p{100 * q:g}", q == 0.99)
                    for q in (0.5, 0.95, 0.99)
                ),
            )
        )
        .with_panel(
            graph(
                "Burn rate of errors",
                "1 uses the error budget up in just 30 days. The alerts compare these windows.",
                "none",
                *(
                    Query(f'max(job:zoo_request_errors:ratio_rate{window}{{job=~"$job"}}) / 0.001', window)
                    for window in ("5m", "1h", "6h", "3d")
                ),
            )
        )
        .with_panel(
            graph(
                "Burn rate of latency",
                "1 uses the latency budget up in just 30 days. The alerts compare these windows.",
                "none",
                *(
                    Query(f'max(job:zoo_request_slow:ratio_rate{window}{{job=~"$job"}}) / 0.01', window)
                    for window in ("5m", "1h", "6h", "3d")
                ),
            )
        )
        .with_panel(
            graph(
                "Refused by reason",
                "Inference calls a second that were refused without running.",
                "reqps",
                Query(f"sum by (reason) (rate(zoo_rejected_total{{{TARGETS}}}{RATE}))", "{{reason}}"),
                stacked=True,
            )
        )
        .with_row(dashboard.Row("Load"))
        .with_panel(
            graph(
                "Queue by model",
                "Rows that wait for the device.",
                "none",
                Query(f"sum by (model) (zoo_queue_depth{{{TARGETS}}})", "{{model}}"),
                stacked=True,
            )
        )
        .with_panel(
            graph(
                "In flight by model",
                "Inference calls accepted and not yet answered.",
                "none",
                Query(f"sum by (model) (zoo_in_flight_requests{{{TARGETS}}})", "{{model}}"),
                stacked=True,
            )
        )
        .with_panel(
            graph(
                "Busy lanes",
                "How many lanes of each server run a batch, on average.",
                "none",
                Query(f"sum by (instance) (rate(zoo_device_busy_seconds_total{{{TARGETS}}}{RATE}))", "{{instance}}"),
            )
        )
        .with_panel(
            graph(
                "Models by state",
                "Models of the catalog and fine-tuned ones. UNAVAILABLE are also those that nobody loaded.",
                "none",
                Query(f"sum by (state) (zoo_model_state{{{TARGETS}}})", "{{state}}"),
            )
        )
        .with_panel(
            graph(
                "Servers",
                "1 while Prometheus reads the metrics of a server, and while the server is ready.",
                "none",
                Query(f"up{{{TARGETS}}}", "{{instance}} up"),
                Query(f"zoo_ready{{{TARGETS}}}", "{{instance}} ready"),
                most=1,
            )
        )
        .with_panel(
            graph(
                "Canaries rolled back",
                "Rollbacks in the last hour.",
                "none",
                Query(
                    f"sum by (model) (increase(zoo_canary_rollbacks_total{{{TARGETS}}}[1h])) or vector(0)", "{{model}}"
                ),
            )
        )
    )
