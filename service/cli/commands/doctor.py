"""`zoo doctor`: checks ZOO_HOME and the database without a server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.options import Json
from service.cli.rendering.console import (
    escaped,
    new_table,
    print_error,
    print_json,
    print_line,
    print_note,
    print_table,
)
from service.cli.rendering.formatting import plural

if TYPE_CHECKING:
    from service.doctor.findings import Finding, Report

IN_USE = 2
"""Exit code if a server uses the home, so that nothing was moved."""


def doctor(
    digests: Annotated[
        bool, typer.Option("--digests", help="Also read every file and compare it with its digest. Takes minutes.")
    ] = False,
    quarantine: Annotated[
        bool,
        typer.Option(
            "--quarantine", help="Move damaged items to ZOO_HOME/quarantine/. No server may run; nothing is deleted."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Check ZOO_HOME and the database without a server. Exit code 0 if nothing is damaged, 1 otherwise."""
    from service.doctor.checkup import HomeInUseError, exclusive_access, run_checkup
    from service.doctor.quarantine import move_to_quarantine
    from service.settings import load_settings

    settings = load_settings()
    home = settings.home.absolute()
    moved: list[Finding] = []
    folder: Path | None = None
    if quarantine and home.is_dir():
        try:
            with exclusive_access(home, settings.database_url):
                report = run_checkup(home, settings.database_url, digests=digests, alone=True)
                if report.damaged:
                    folder, moved = move_to_quarantine(home, settings.database_url, report.damaged)
                    report = run_checkup(home, settings.database_url, digests=digests, alone=True)
        except HomeInUseError as error:
            print_error(str(error))
            raise typer.Exit(IN_USE) from None
        except OSError as error:
            print_error(f"nothing more can be moved in {home}: {(error.strerror or 'unknown reason').lower()}")
            raise typer.Exit(1) from None
    else:
        report = run_checkup(home, settings.database_url, digests=digests)
    if as_json:
        print_json(_json_document(home, report, moved, folder))
    else:
        _print_report(home, report, moved, folder)
    raise typer.Exit(0 if report.sound else 1)


def _json_document(home: Path, report: Report, moved: list[Finding], folder: Path | None) -> dict[str, Any]:
    return {
        "home": str(home),
        "sound": report.sound,
        "checked": report.checked,
        "damaged": [finding.as_dict() for finding in report.damaged],
        "notes": [finding.as_dict() for finding in report.notes],
        "quarantined": [finding.as_dict() for finding in moved],
        "quarantine": str(folder) if moved else "",
    }


def _print_report(home: Path, report: Report, moved: list[Finding], folder: Path | None) -> None:
    checked = ", ".join(f"{number} {kind if number == 1 else plural(kind)}" for kind, number in report.checked.items())
    print_note(f"checked {home}: {checked or 'nothing is there'}")
    if moved:
        print_line(f"moved to {folder}:")
        _print_findings(moved)
    if report.damaged:
        print_line("damaged:", "red")
        _print_findings(report.damaged)
        if not moved:
            print_note("stop the server and run `zoo doctor --quarantine` to move these aside")
    for note in report.notes:
        print_note(f"note: {note.kind} {note.name}: {note.reason}")
    print_line(
        "nothing is damaged" if report.sound else f"{len(report.damaged)} damaged", "green" if report.sound else "red"
    )


def _print_findings(findings: list[Finding]) -> None:
    rows = new_table("what", "name", "why", "where")
    for finding in findings:
        rows.add_row(*map(escaped, (finding.kind, finding.name, finding.reason, str(finding.path or ""))))
    print_table(rows)
