"""Texts of the first SigLIP: its makers' tokenizer reads ``spiece.model`` of the package sentencepiece.

Their ``tokenizer.json``, where there is one, is a conversion of it and gives other tokens for some texts, such as those with
accents as characters of their own. So Zoo reads the model of sentencepiece itself.
"""

import importlib.util
from typing import Any

from model_zoo.references.repository import config_of
from model_zoo.references.text_fields import refuse_left_truncation
from model_zoo.references.transformers.network_class import NetworkClass

__all__ = ["PIECES", "of_sentencepiece", "piece_recipes"]

PIECES = "spiece.model"
_CLASS = "SiglipTokenizer"
_MOST_BYTES = 64 << 20
_MOST_CHARACTERS = 10_000


def of_sentencepiece(network: NetworkClass) -> bool:
    """Whether the makers' tokenizer is that of the first SigLIP: as its settings say, or as the library takes it without them."""
    named = config_of(network.repository, "tokenizer_config.json").get("tokenizer_class")
    of_siglip = network.config.get("model_type") == "siglip"
    return of_siglip and (named == _CLASS if named else PIECES in network.repository.files)


def piece_recipes(network: NetworkClass, vocabulary: int, tokens: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """The recipe of a text of so many ``tokens``, and how it becomes tokens.

    Raises:
        NotDerivable: the package is not installed, or the tokenizer is of another form.
        SourceUnavailable: its file cannot be read.
    """
    settings = config_of(network.repository, "tokenizer_config.json")
    if not settings.get("do_lower_case", True):
        raise network.refuse(f"its {_CLASS} keeps capitals, which Zoo does not have")
    if settings.get("sp_model_kwargs"):
        raise network.refuse(f"its {_CLASS} has settings of its own (sp_model_kwargs), which Zoo does not have")
    if settings.get("padding_side", "right") != "right":
        raise network.refuse("its tokenizer pads on the left")
    refuse_left_truncation(network.repository, settings, {})
    pieces = _read(network)
    if pieces.get_piece_size() > vocabulary:
        raise network.refuse(
            f"its {PIECES} has {pieces.get_piece_size():,} pieces, and its network {vocabulary:,} tokens"
        )
    pad, end = (_number(network, pieces, settings, name) for name in ("pad_token", "eos_token"))
    text = {"kind": "text", "max_tokens": tokens, "pad_id": pad, "max_characters": _MOST_CHARACTERS}
    return text, {"file": "pieces", "unknown": _token(settings, "unk_token", "<unk>"), "end_id": end}


def _read(network: NetworkClass) -> Any:
    if importlib.util.find_spec("sentencepiece") is None:
        raise network.refuse(f"its makers' {_CLASS} needs the Python package sentencepiece, which is not installed")
    if PIECES not in network.repository.files:
        raise network.refuse(f"it has no {PIECES}, which its makers' {_CLASS} reads")
    from sentencepiece import SentencePieceProcessor

    content = network.repository.read(PIECES, _MOST_BYTES)
    try:
        return SentencePieceProcessor(model_proto=content)
    except Exception as error:  # the library has no error of its own for a damaged file
        raise network.refuse(f"its {PIECES} cannot be read") from error


def _number(network: NetworkClass, pieces: Any, settings: dict[str, Any], name: str) -> int:
    token = _token(settings, name, "</s>")
    number = int(pieces.piece_to_id(token))
    if pieces.id_to_piece(number) != token:
        raise network.refuse(f"its {PIECES} has no piece {token[:50]!r}, its {name}")
    return number


def _token(settings: dict[str, Any], name: str, default: str) -> str:
    found = settings.get(name, default)
    return str(found.get("content") if isinstance(found, dict) else found)
