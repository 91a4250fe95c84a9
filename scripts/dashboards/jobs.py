"""Fine-tune jobs. Prometheus stores their label `job` as `exported_job`, since `job` is its own label of the target."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard

from .panels import TARGETS, Level, Query, graph, number, page, variable

JOB = f'{TARGETS}, exported_job=~"$fine_tune_job"'


def jobs() -> dashboard.Dashboard:
    """The dashboard. Servers on one database report the same counts, so the largest is shown."""
    counts = f'zoo_jobs{{{TARGETS}, state="%s"}}'
    return (
        page("zoo-jobs", "Zoo: jobs", "Fine-tune jobs: how many wait and run, their progress and their metrics.")
        .with_variable(
            variable("fine_tune_job", "Job", f"label_values(zoo_job_progress_ratio{{{TARGETS}}}, exported_job)")
        )
        .with_row(dashboard.Row("Now"))
        .with_panel(number("Queued", "Jobs that wait.", "none", Query(f"max({counts % 'queued'})"), span=4))
        .with_panel(
            number("Running", "Jobs that a server works on.", "none", Query(f"max({counts % 'running'})"), span=4)
        )
        .with_panel(number("Paused", "Jobs that a user paused.", "none", Query(f"max({counts % 'paused'})"), span=4))
        .with_panel(
            number("Succeeded", "Jobs that made a version.", "none", Query(f"max({counts % 'succeeded'})"), span=4)
        )
        .with_panel(
            number("Failed", "Jobs that ended with a reason.", "none", Query(f"max({counts % 'failed'})"), span=4)
        )
        .with_panel(
            number(
                "Longest without progress",
                "Of the running jobs.",
                "s",
                Query(f"max(time() - zoo_job_last_progress_timestamp_seconds{{{JOB}}})"),
                [Level(600, "orange"), Level(1800, "red")],
                span=4,
            )
        )
        .with_row(dashboard.Row("Over time"))
        .with_panel(
            graph(
                "Jobs by state",
                "Jobs of the database.",
                "none",
                Query(f"max by (state) (zoo_jobs{{{TARGETS}}})", "{{state}}"),
            )
        )
        .with_panel(
            graph(
                "Progress",
                "Share of each running job that is done.",
                "percentunit",
                Query(f"zoo_job_progress_ratio{{{JOB}}}", "{{model}} {{exported_job}}"),
                most=1,
            )
        )
        .with_panel(
            graph(
                "Time without progress",
                "Since a running job last reported progress or a metric.",
                "s",
                Query(f"time() - zoo_job_last_progress_timestamp_seconds{{{JOB}}}", "{{model}} {{exported_job}}"),
            )
        )
        .with_row(dashboard.Row("Metrics of running jobs"))
        .with_panel(
            graph(
                "Loss",
                "By split.",
                "none",
                Query(f'zoo_job_metric{{{JOB}, metric=~".*loss.*"}}', "{{model}} {{metric}} {{split}}"),
                span=12,
                least=None,
            )
        )
        .with_panel(
            graph(
                "Other metrics",
                "By split.",
                "none",
                Query(f'zoo_job_metric{{{JOB}, metric!~".*loss.*"}}', "{{model}} {{metric}} {{split}}"),
                span=12,
                least=None,
            )
        )
    )
