"""One model: where the time of its calls goes, its batches, its versions and what they run in."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard

from .panels import INFERENCE, RATE, TARGETS, Query, graph, page, variable

MODEL = f'{TARGETS}, model=~"$model", version=~"$version"'


def rate(metric: str, labels: str = MODEL) -> str:
    """The rate of a counter of the model."""
    return f"rate({metric}{{{labels}}}{RATE})"


def model() -> dashboard.Dashboard:
    """The dashboard."""
    known = f"zoo_request_duration_seconds_count{{{TARGETS}}}"
    duration = f"zoo_request_duration_seconds_bucket{{{MODEL}, {INFERENCE}}}"
    return (
        page("zoo-model", "Zoo: model", "Calls, stages, batches and versions of one model.")
        .with_variable(variable("model", "Model", f"label_values({known}, model)"))
        .with_variable(variable("version", "Version", f'label_values({known[:-1]}, model=~"$model"}}, version)'))
        .with_row(dashboard.Row("Calls"))
        .with_panel(
            graph(
                "Calls",
                "A second, by method and gRPC status code.",
                "reqps",
                Query(f"sum by (method, code) ({rate('zoo_requests_total')})", "{{method}} {{code}}"),
                stacked=True,
            )
        )
        .with_panel(
            graph(
                "Latency of a call",
                "From arrival to reply, with traces as exemplars.",
                "s",
                *(
                    Query(f"histogram_quantile({q}, sum by (le) (rate({duration}{RATE})))", f"p{100 * q:g}", q == 0.99)
                    for q in (0.5, 0.95, 0.99)
                ),
            )
        )
        .with_panel(
            graph(
                "Latency by version",
                "99 % of the calls are answered within this time. Compares a canary with the stable version.",
                "s",
                Query(
                    f"histogram_quantile(0.99, sum by (version, le) (rate({duration}{RATE})))",
                    "version {{version}}",
                ),
            )
        )
        .with_panel(
            graph(
                "Where the time goes",
                "Mean time of each stage, of calls that succeeded.",
                "s",
                Query(
                    f"sum by (stage) ({rate('zoo_stage_duration_seconds_sum')})"
                    f" / sum by (stage) ({rate('zoo_stage_duration_seconds_count')})",
                    "{{stage}}",
                ),
                stacked=True,
            )
        )
        .with_panel(
            graph(
                "Stages, p99",
                "99 % of the calls spend at most this time in the stage.",
                "s",
                Query(
                    f"histogram_quantile(0.99, sum by (stage, le) ({rate('zoo_stage_duration_seconds_bucket')}))",
                    "{{stage}}",
                ),
            )
        )
        .with_panel(
            graph(
                "Refused by reason",
                "Calls a second that were refused without running. Some are refused before a version is chosen.",
                "reqps",
                Query(f'sum by (reason) (rate(zoo_rejected_total{{{TARGETS}, model=~"$model"}}{RATE}))', "{{reason}}"),
                stacked=True,
            )
        )
        .with_row(dashboard.Row("Batches"))
        .with_panel(
            graph(
                "Rows a batch",
                "On average.",
                "none",
                Query(
                    f"sum by (version) ({rate('zoo_batch_size_sum')}) / sum by (version) ({rate('zoo_batch_size_count')})",
                    "version {{version}}",
                ),
            )
        )
        .with_panel(
            graph(
                "Rows a second",
                "That the device computes.",
                "none",
                Query(f"sum by (version) ({rate('zoo_batch_size_sum')})", "version {{version}}"),
            )
        )
        .with_panel(
            graph(
                "Padding",
                "Share of the batches that is padding, on average.",
                "percentunit",
                Query(
                    f"sum by (version) ({rate('zoo_batch_padding_ratio_sum')})"
                    f" / sum by (version) ({rate('zoo_batch_padding_ratio_count')})",
                    "version {{version}}",
                ),
            )
        )
        .with_panel(
            graph(
                "Queue",
                "Rows that wait for the device, and calls that are not answered yet.",
                "none",
                Query(f"sum(zoo_queue_depth{{{MODEL}}})", "rows"),
                Query(f"sum(zoo_in_flight_requests{{{MODEL}}})", "calls"),
            )
        )
        .with_panel(
            graph(
                "Time of a batch",
                "On average: collate, run, split; and what the scheduler predicted.",
                "s",
                Query(
                    f"sum({rate('zoo_batch_execute_seconds_sum')}) / sum({rate('zoo_batch_execute_seconds_count')})",
                    "taken",
                ),
                Query(
                    f"sum({rate('zoo_predicted_execute_seconds_sum')})"
                    f" / sum({rate('zoo_predicted_execute_seconds_count')})",
                    "predicted",
                ),
            )
        )
        .with_panel(
            graph(
                "Prediction of a batch's time",
                "Predicted over taken: near 1 where the scheduler knows the model well.",
                "none",
                Query(
                    f"sum({rate('zoo_predicted_execute_seconds_sum')}) / sum({rate('zoo_batch_execute_seconds_sum')})",
                    "predicted / taken",
                ),
            )
        )
        .with_row(dashboard.Row("Versions"))
        .with_panel(
            graph(
                "State",
                "1 for the state that the model is in.",
                "none",
                Query(f'zoo_model_state{{{TARGETS}, model=~"$model"}} == 1', "{{model}} {{state}} {{instance}}"),
                most=1,
            )
        )
        .with_panel(
            graph(
                "Tier and precision",
                "What each loaded version runs in.",
                "none",
                Query(f"zoo_model_tier{{{MODEL}}}", "{{model}} {{version}}: {{tier}} {{precision}} {{instance}}"),
                most=1,
            )
        )
        .with_panel(
            graph(
                "Speed over that at load",
                "Rows a second of the network that runs, over those of the network at load.",
                "none",
                Query(f"zoo_model_speedup_ratio{{{MODEL}}}", "{{model}} {{version}} {{instance}}"),
            )
        )
        .with_panel(
            graph(
                "Memory",
                "Of a loaded version, by the ledger.",
                "bytes",
                Query(f"zoo_model_memory_bytes{{{MODEL}}}", "{{model}} {{version}} {{instance}}"),
            )
        )
        .with_panel(
            graph(
                "Time of the last load",
                "From weights on disk to ready.",
                "s",
                Query(f"zoo_model_load_seconds{{{MODEL}}}", "{{model}} {{version}} {{instance}}"),
            )
        )
    )
