"""Entry point of `zoo`: the verbs and what becomes of their errors."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from service.cli import datasets, finetune, jobs, models, predict, pull, serve, status, versions
from service.cli.console import complain

# Expected errors, by the module that defines them, and the exit code. An error can only be one of them if its module
# has been imported, so nothing is imported to find out.
_EXPECTED = (
    ("service.client.errors", "ZooClientError", 1),
    ("model_zoo.errors", "ZooModelError", 1),
    ("service.settings", "SettingsError", 2),
)
_OURS = ("service", "model_zoo")


class SentenceGroup(TyperGroup):
    """Verbs whose expected errors end in one sentence on stderr and an exit code, never in a trace."""

    def invoke(self, ctx: Any) -> Any:
        """Runs the verb."""
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            if error.name is None or error.name.partition(".")[0] in _OURS:
                raise
            complain(f"this needs the package {error.name!r}; the extra `server` of zoo-serving brings it")
            raise typer.Exit(1) from None
        except Exception as error:
            for module, name, code in _EXPECTED:
                kind = getattr(sys.modules.get(module), name, None)
                if kind is not None and isinstance(error, kind):
                    complain(str(error))
                    raise typer.Exit(code) from None
            raise


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
    """Runs the command that the process was started with."""
    app()
