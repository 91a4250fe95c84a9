"""The machine of each server: its device, memory, disk and process."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard

from .panels import RATE, TARGETS, Query, graph, page


def device() -> dashboard.Dashboard:
    """The dashboard."""
    return (
        page("zoo-device", "Zoo: device", "Lanes, memory, disk and process of each server.")
        .with_row(dashboard.Row("Device"))
        .with_panel(
            graph(
                "Busy lanes",
                "How many lanes run a batch, on average; at most ZOO_LANES.",
                "none",
                Query(f"rate(zoo_device_busy_seconds_total{{{TARGETS}}}{RATE})", "{{instance}} {{device}}"),
            )
        )
        .with_panel(
            graph(
                "Memory of the device",
                "weights and models: of loaded models; process: private memory; allocated and reserved: of torch.",
                "bytes",
                Query(f"zoo_device_memory_bytes{{{TARGETS}}}", "{{instance}} {{kind}}"),
            )
        )
        .with_panel(
            graph(
                "Memory by model",
                "Of all loaded versions, by the ledger.",
                "bytes",
                Query(f"sum by (model) (zoo_model_memory_bytes{{{TARGETS}}})", "{{model}}"),
                stacked=True,
            )
        )
        .with_row(dashboard.Row("Memory and disk"))
        .with_panel(
            graph(
                "Memory left",
                "For the server and its child processes, beside the limit of the machine or container.",
                "bytes",
                Query(f"zoo_memory_available_bytes{{{TARGETS}}}", "{{instance}} available"),
                Query(f"zoo_memory_limit_bytes{{{TARGETS}}}", "{{instance}} limit"),
            )
        )
        .with_panel(
            graph(
                "Memory of the process",
                "Resident memory of the server alone, without its child processes.",
                "bytes",
                Query(f"process_resident_memory_bytes{{{TARGETS}}}", "{{instance}}"),
            )
        )
        .with_panel(
            graph(
                "Free disk space",
                "Share of the disk of ZOO_HOME.",
                "percentunit",
                Query(f"zoo_home_available_bytes{{{TARGETS}}} / zoo_home_size_bytes{{{TARGETS}}}", "{{instance}}"),
                most=1,
            )
        )
        .with_row(dashboard.Row("Process"))
        .with_panel(
            graph(
                "Cores in use",
                "By the server's process, without its child processes.",
                "none",
                Query(f"rate(process_cpu_seconds_total{{{TARGETS}}}{RATE})", "{{instance}}"),
            )
        )
        .with_panel(
            graph(
                "Open files and connections",
                "Beside the limit of the system.",
                "none",
                Query(f"process_open_fds{{{TARGETS}}}", "{{instance}}"),
                Query(f"process_max_fds{{{TARGETS}}}", "{{instance}} limit"),
            )
        )
        .with_panel(
            graph(
                "Garbage collections",
                "A second, by generation.",
                "none",
                Query(
                    f"sum by (generation) (rate(python_gc_collections_total{{{TARGETS}}}{RATE}))",
                    "generation {{generation}}",
                ),
            )
        )
        .with_panel(
            graph(
                "Time since the start",
                "It falls to 0 at a restart.",
                "s",
                Query(f"time() - process_start_time_seconds{{{TARGETS}}}", "{{instance}}"),
            )
        )
        .with_panel(
            graph(
                "Lost log lines",
                "In five minutes. The reader of the output is dead or too slow, or its disk is full.",
                "none",
                Query(f"increase(zoo_log_lines_lost_total{{{TARGETS}}}[5m])", "{{instance}}"),
            )
        )
        .with_panel(
            graph(
                "Lost spans",
                "In five minutes. The collector of traces is away or too slow.",
                "none",
                Query(f"increase(zoo_spans_lost_total{{{TARGETS}}}[5m])", "{{instance}}"),
            )
        )
        .with_panel(
            graph(
                "Releases",
                "How many servers run each release, on each device.",
                "none",
                Query(f"count by (version, device) (zoo_build_info{{{TARGETS}}})", "{{version}} on {{device}}"),
            )
        )
    )
