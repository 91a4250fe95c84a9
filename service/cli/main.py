"""Entry point of `zoo`: the verbs and what becomes of their errors."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from service.cli import faults
from service.cli.commands import (
    datasets,
    doctor,
    finetune,
    jobs,
    models,
    predict,
    pull,
    serve,
    status,
    versions,
)
from service.cli.rendering.console import print_error


class SentenceGroup(TyperGroup):
    """Verbs whose expected errors end in one sentence on stderr and an exit code, never in a trace."""

    def invoke(self, ctx: Any) -> Any:
        """Runs the verb."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise typer.Exit(faults.INTERRUPTED) from None
        except BrokenPipeError:  # nobody reads on, as behind `| head`
            raise typer.Exit(faults.FAILED) from None
        except typer.BadParameter as error:
            error.message = faults.of_option(error) or error.message
            raise
        except Exception as error:
            if (told := faults.sentence(error)) is None:
                raise
            text, code = told
            print_error(text)
            raise typer.Exit(code) from None


app = typer.Typer(
    cls=SentenceGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Pretrained networks behind gRPC: serve them, ask them, teach them your data, see how they are.",
)
app.command("serve")(serve.serve)
app.command("models")(models.models)
app.command("show")(models.show)
app.command("pull")(pull.pull)
app.command("predict")(predict.predict)
app.command("status")(status.status)
app.command("load")(status.load)
app.command("unload")(status.unload)
app.command("set")(status.set_options)
app.command("doctor")(doctor.doctor)
app.command("finetune")(finetune.finetune)
app.add_typer(jobs.app, name="jobs")
app.add_typer(datasets.app, name="datasets")
app.command("versions")(versions.versions)
app.command("report")(versions.report)
app.command("promote")(versions.promote)
app.command("rollback")(versions.rollback)
app.command("canary")(versions.canary)
app.command("alias")(versions.alias)


def _print_version(wanted: bool) -> None:
    if wanted:
        from service import __version__

        typer.echo(f"zoo {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and stop.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Runs the command that the process was started with, and ends the process."""
    faults.prepare()
    sys.exit(faults.guarded(app))
