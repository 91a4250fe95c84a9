"""The six novels of Jane Austen, which the package janeaustenr of R (MIT) ships as Debian has it.

The texts are those of Project Gutenberg; their author died in 1817.
"""

from collections.abc import Mapping

from model_zoo.cards.weight_source import SourceFile
from model_zoo.training_recipes.data.r_tables import read_texts
from model_zoo.training_recipes.recipe import DataPackage

__all__ = ["JANE_AUSTEN", "novel", "paragraphs"]

JANE_AUSTEN = DataPackage(
    package="r-cran-janeaustenr",
    version="1.0.0-1",
    artifact="r-cran-janeaustenr_1.0.0-1_all.deb",
    artifact_sha256="df6bddf211906d1ff404f8ff662c21b34e6660e7f54a311084e749050c019c95",
    artifact_bytes=1_626_392,
    files={
        "index": SourceFile(
            path="usr/lib/R/site-library/janeaustenr/data/Rdata.rdx",
            sha256="cab8cbe4ce965d3b42b35c03383bafccc0eb78151f70e4748ead45270470c22f",
            bytes=262,
        ),
        "database": SourceFile(
            path="usr/lib/R/site-library/janeaustenr/data/Rdata.rdb",
            sha256="8fb5198960d0da724b1562f96e4221e5c1b41ff455000280b02c55980c3d8f21",
            bytes=1_601_335,
        ),
    },
)


def novel(files: Mapping[str, bytes], name: str) -> str:
    """A novel by its name in the package, such as ``prideprejudice``; see ``paragraphs``."""
    return paragraphs(read_texts(files["index"], files["database"], name))


def paragraphs(lines: list[str]) -> str:
    """Lines of a book, where an empty line ends a paragraph → a line for each paragraph, with single spaces."""
    found: list[list[str]] = [[]]
    for line in lines:
        words = line.split()
        if words:
            found[-1] += words
        elif found[-1]:
            found.append([])
    return "\n".join(" ".join(words) for words in found if words)
