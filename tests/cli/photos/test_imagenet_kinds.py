"""The script that writes the words of ImageNet's classes reads WordNet's files."""

from __future__ import annotations

from scripts.imagenet_kinds import licence, read_synsets, table

NOUNS = """\
  1 This software and database is being provided.
  2
  3 All rights reserved.
00000001 03 n 01 entity 0 000 | that which is
00000002 05 n 02 animal 0 animate_being 0 001 @ 00000001 n 0000 | a living thing
00000003 05 n 02 mouse 0 Mus_musculus 0 002 @ 00000002 n 0000 ~ 00000004 n 0000 | a rodent
00000004 05 n 01 house_mouse 0 001 @i 00000003 n 0000 | a mouse in houses
"""


def test_synset_has_its_words_and_what_it_is_a_kind_of() -> None:
    synsets = read_synsets(NOUNS)
    assert synsets["00000003"].words == ("mouse", "Mus musculus")
    assert synsets["00000003"].hypernyms == ("00000002",)
    assert synsets["00000004"].hypernyms == ("00000003",)


def test_table_has_classes_first_then_their_kinds_and_known_plurals_without_roots() -> None:
    made = table(read_synsets(NOUNS), ["00000004"], "mice mouse\ngeese goose\n")
    lines = [line for line in made.splitlines() if not line.startswith("#")]
    assert lines == ["house mouse\t1", "mouse, Mus musculus\t2", "animal, animate being\t", "", "mice\tmouse"]


def test_licence_is_the_head_of_the_file() -> None:
    assert licence(NOUNS) == "This software and database is being provided.\n\nAll rights reserved.\n"
