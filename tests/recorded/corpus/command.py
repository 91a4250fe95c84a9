"""The `zoo` command: its help, and what it prints for programs."""

from __future__ import annotations

import json

from tests.recorded import payloads
from tests.recorded.corpus.messages import CNN, RNN, TRANSFORMER
from tests.recorded.player import Player
from tests.recorded.server import python_of

VERBS = (
    "serve", "models", "show", "pull", "predict", "status", "load", "unload", "set", "doctor", "finetune", "versions",
    "report", "promote", "rollback", "canary", "alias", "jobs", "datasets",
)  # fmt: skip
NESTED = (
    "jobs show",
    "jobs watch",
    "jobs cancel",
    "jobs pause",
    "jobs resume",
    "jobs delete",
    "datasets show",
    "datasets delete",
)

SETTINGS = """
import json
from service.settings import Settings
fields = {name: [str(f.annotation), repr(f.default)] for name, f in Settings.model_fields.items()}
print(json.dumps({"prefix": Settings.model_config["env_prefix"], "fields": fields}))
"""


def play(player: Player) -> None:
    with player.group("command"):
        for verb in ("", *VERBS, *NESTED):
            player.command(f"help {verb}".strip(), *verb.split(), "--help")
        player.command("version", "--version")
        for line in (
            "status --json",
            "models --json",
            f"show {CNN} --json",
            "show rents --json",
            "show nobody --json",
            "versions rents --json",
            "report rents --json",
            "jobs --json --state failed --model wild",
            "jobs --json --state nothing",
            "jobs --json --model rents",
            "jobs show nobody --json",
            "datasets --json --kind table",
            "datasets show nobody --json",
            f"load {RNN} --json",
            f"unload {RNN} --json",
            f"load {RNN} --json",
            f"set {RNN} weight=2 --json",
            f"set {RNN} weight=default --json",
            f"set {RNN} colour=blue --json",
            f"set {RNN} weight=heavy --json",
            "promote rents 1 --json",
            "rollback nobody --json",
            "canary rents 99 --share 0.5 --json",
            "canary rents --share 0 --json",
            "alias rents best 1 --json",
            "alias rents best --delete --json",
            "alias rents stable --delete --json",
            f"predict {CNN} {payloads.EXAMPLES / 'cat.jpg'} --json --top-k 1",
            f"predict {TRANSFORMER} hello --json",
            f"predict {RNN} {payloads.EXAMPLES / 'speech.flac'} --json",
            f"predict {CNN} nowhere.jpg --json",
            "predict nobody hello --json",
            "finetune nobody nowhere.csv --name x --json",
            "status",
            "models",
            f"show {CNN}",
            "versions rents",
            "report rents",
            "jobs --model rents",
            "datasets --kind table",
            f"predict {CNN} {payloads.EXAMPLES / 'cat.jpg'}",
            f"predict {TRANSFORMER} hello",
            f"predict {RNN} {payloads.EXAMPLES / 'speech.flac'}",
            "nothing",
            f"predict {CNN} x --top-k many",
        ):
            player.command(line.replace(f"{payloads.EXAMPLES}/", ""), *line.split(" "))
        player.command("predict a row", "predict", "rents", '{"size": 80}', "--json")
        player.command("without a server: status", "status", "--json", ZOO_SERVER="127.0.0.1:1")
        player.command("without a server: models", "models", "--json", ZOO_SERVER="127.0.0.1:1")
        player.command("without a server: show", "show", CNN, "--json", ZOO_SERVER="127.0.0.1:1")
        player.command("a bad setting", "serve", ZOO_PORT="many")
        player.command("an unknown model", "serve", "--model", "nobody", "--port", "0", "--http-port", "0")
        player.command("pull what nobody knows", "pull", "nobody")
        player.command("pull what is there", "pull", CNN)
        player.command("doctor", "doctor", "--json")
    player.fact("settings", json.loads(python_of(player.server.tree, player.server.home, SETTINGS)))
