"""Entry point of `zoo`: its commands, and how their errors end."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from service.cli.command_process import prepare_process, run_command
from service.cli.commands import (
    datasets,
    doctor,
    finetune,
    jobs,
    models,
    photos,
    predict,
    probe,
    pull,
    serve,
    show,
    status,
    token,
    train,
    verify,
    versions,
)
from service.cli.commands.inventory import cache, lock, search
from service.cli.connection import ConnectionOptions, set_options
from service.cli.error_messages import error_message, option_problem
from service.cli.exit_codes import FAILED, INTERRUPTED
from service.cli.rendering.console import print_error


class CommandGroup(TyperGroup):
    """Commands whose expected errors end in one sentence on stderr and an exit code, never in a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Runs the command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:  # the reader has stopped, for example `| head`
            raise typer.Exit(FAILED) from None
        except typer.BadParameter as error:
            error.message = option_problem(error) or error.message
            raise
        except Exception as error:
            if (message := error_message(error)) is None:
                raise
            text, code = message
            print_error(text)
            raise typer.Exit(code) from None


app = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Serve pretrained networks over gRPC, call them, fine-tune them on your data, and inspect them.",
)
app.command("serve")(serve.serve)
app.command("models")(models.models)
app.command("show")(show.show)
app.command("pull")(pull.pull)
app.command("search")(search.search)
app.command("lock")(lock.lock)
app.command("predict")(predict.predict)
app.command("verify")(verify.verify)
app.command("status")(status.status)
app.command("probe")(probe.probe)
app.command("load")(status.load)
app.command("unload")(status.unload)
app.command("set")(status.set_options)
app.command("doctor")(doctor.doctor)
app.command("finetune")(finetune.finetune)
app.command("train")(train.train)
app.add_typer(jobs.app, name="jobs")
app.add_typer(datasets.app, name="datasets")
app.add_typer(cache.app, name="cache")
app.add_typer(token.app, name="token")
app.add_typer(photos.app, name="photos")
app.command("versions")(versions.versions)
app.command("report")(versions.report)
app.command("promote")(versions.promote)
app.command("rollback")(versions.rollback)
app.command("canary")(versions.canary)
app.command("alias")(versions.alias)


def _print_version(requested: bool) -> None:
    if requested:
        from service import __version__

        typer.echo(f"zoo {__version__}")
        raise typer.Exit


@app.callback()
def _root_options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and exit.")
    ] = False,
    tls: Annotated[bool, typer.Option("--tls", help="Call the server over TLS. Environment: ZOO_TLS=true.")] = False,
    tls_ca_file: Annotated[
        str,
        typer.Option(metavar="FILE", help="CAs of the server, instead of this machine's: PEM. ZOO_TLS_CA_FILE."),
    ] = "",
    tls_client_cert_file: Annotated[
        str, typer.Option(metavar="FILE", help="Certificate to show to the server: PEM. ZOO_TLS_CLIENT_CERT_FILE.")
    ] = "",
    tls_client_key_file: Annotated[
        str, typer.Option(metavar="FILE", help="Its private key: PEM. ZOO_TLS_CLIENT_KEY_FILE.")
    ] = "",
    tls_server_name: Annotated[
        str,
        typer.Option(metavar="NAME", help="Name in the server's certificate, if not the address. ZOO_TLS_SERVER_NAME."),
    ] = "",
    token_file: Annotated[
        str, typer.Option(metavar="FILE", help="File with the token to send. ZOO_TOKEN_FILE, or ZOO_TOKEN.")
    ] = "",
) -> None:
    set_options(
        ConnectionOptions(tls, tls_ca_file, tls_client_cert_file, tls_client_key_file, tls_server_name, token_file)
    )


def main() -> None:
    """Runs the command line of this process, and ends the process."""
    prepare_process()
    sys.exit(run_command(app))
