"""Sequences of symbols come plain or as a record of FASTA; everything else is refused by its place."""

from pathlib import Path

import numpy as np
import pytest

from model_zoo.catalog import Catalog
from model_zoo.formats.fairseq import tokenizer_of
from service.errors import InvalidInput
from service.tasks.text.fill_mask import MaskedTokenInput
from service.tasks.text.symbol_sequence import symbol_sequence
from service.types import Item, TextInstance

RESIDUES = "ACDEFGHIKLMNPQRSTVWY"
PATH = "instances[2].text"


def read(text: str) -> str:
    return symbol_sequence(text, RESIDUES, "<mask>", PATH)


@pytest.mark.parametrize(
    ("text", "sequence"),
    [
        ("EVQLVE", "EVQLVE"),
        ("evq lve\r\n", "EVQLVE"),
        (">sp|P1 trastuzumab heavy chain\nEVQ\nLV<mask>\n\n", "EVQLV<mask>"),
        ("<mask>\nVQ<mask>", "<mask>VQ<mask>"),
        ("\n >header\nEV", "EV"),
    ],
)
def test_header_white_space_and_line_ends_are_left_out(text: str, sequence: str) -> None:
    assert read(text) == sequence


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("EVQ1LVE", "got '1' at position 4"),
        ("EVQ<mask>LV*", r"got '\*' at position 7"),
        (">one\nEVB", "got 'B' at position 3"),
        ("EVß", "got 'ß' at position 3"),
        ("EV<msk>Q", "got '<' at position 3"),
        (">only a header", "has no sequence behind its header"),
        (">only a header\n\n", "has no sequence behind its header"),
        (">one\nEVQ\n>two\nLVE", "expected one sequence, got several records"),
        ("EVQ\n>two\nLVE", "expected one sequence, got several records"),
    ],
)
def test_other_texts_are_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message) as refusal:
        read(text)
    assert refusal.value.field == PATH


def test_a_million_letters_are_read_and_one_wrong_one_is_found() -> None:
    assert len(read("EVQL" * 250_000)) == 1_000_000
    with pytest.raises(InvalidInput, match="got '#' at position 500001"):
        read("E" * 500_000 + "#" + "E" * 500_000)


def test_record_of_fasta_gives_the_tokens_of_its_sequence(tmp_path: Path) -> None:
    file = tmp_path / "tokenizer.json"
    file.write_bytes(tokenizer_of("".join(f"{residue} 1\n" for residue in "LAGVESIKRDTPNQFYMHCW").encode()))
    codec = MaskedTokenInput(Catalog.from_package().get("protein_roberta"), {"tokenizer": file})
    texts = ["EV<mask>LVE", ">heavy chain\nev<mask>\nlve\n", "EVJ", "EVQ", "<mask>" * 9, "<mask>" + "E" * 500]
    plain, record, wrong, unmasked, many, long = codec.preprocess(
        [TextInstance(text.encode()) for text in texts], [f"instances[{i}]" for i in range(len(texts))]
    )
    assert isinstance(plain, Item)
    assert isinstance(record, Item)
    np.testing.assert_array_equal(plain.tensors["input_ids"], record.tensors["input_ids"])
    assert [str(outcome) for outcome in (wrong, unmasked, many)] == [
        "instances[2]: expected symbols of ACDEFGHIKLMNPQRSTVWY, got 'J' at position 3",
        "instances[3]: expected the mask '<mask>' for a token to be found, got a text without it",
        "instances[4]: expected at most 8 masks '<mask>', got 9",
    ]
    assert isinstance(long, Item)
    assert long.notes["truncated"]
