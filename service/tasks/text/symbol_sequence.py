"""Sequences of symbols, such as the residues of a protein: plain, or a record of FASTA."""

from __future__ import annotations

from service.errors import InvalidInput

HEADER = ">"
"""Begins the first line of a record."""


def symbol_sequence(text: str, symbols: str, mask: str, path: str) -> str:
    """The sequence of a text in capitals, without the header of a record, white space and line ends.

    Args:
        symbols: those that a sequence may have, beside the mask.

    Raises:
        InvalidInput: there are several records, no symbol, or a character that is no symbol.
    """
    header, _, rest = text.strip().partition("\n") if text.lstrip().startswith(HEADER) else ("", "", text)
    if any(line.lstrip().startswith(HEADER) for line in rest.splitlines()):
        raise InvalidInput(path, "expected one sequence, got several records of FASTA")
    pieces = [_capitals("".join(piece.split())) for piece in (rest.split(mask) if mask else [rest])]
    position = 0
    for piece in pieces:
        wrong = piece.strip(symbols)  # what lies between symbols at both ends; cheap for a sequence without others
        if wrong:
            place = next(i for i, character in enumerate(piece) if character not in symbols)
            raise InvalidInput(
                path, f"expected symbols of {symbols}, got {piece[place]!r} at position {position + place + 1}"
            )
        position += len(piece) + 1
    if not any(pieces) and len(pieces) == 1:
        raise InvalidInput(path, "has no sequence behind its header" if header else "is empty; expected a sequence")
    return mask.join(pieces)


def _capitals(text: str) -> str:
    """In capitals where all letters are ASCII: other capitals may be two letters."""
    return text.upper() if text.isascii() else text
