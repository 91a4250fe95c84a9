"""`python tiny_server.py --port P --http-port P`: the real server with one model, the tiny encoder in ZOO_HOME.

Its card is not in the catalog; it is read from the file that ZOO_TINY_CARD names.
"""

import os
import sys
from pathlib import Path

from model_zoo.cards.card import Card
from model_zoo.catalog import Catalog
from service.server import run
from service.settings import load_settings

if __name__ == "__main__":
    card = Card.model_validate_json(Path(os.environ["ZOO_TINY_CARD"]).read_text())
    given = dict(zip(sys.argv[1::2], sys.argv[2::2], strict=True))
    run(load_settings(port=given["--port"], http_port=given["--http-port"]), Catalog([card]))
