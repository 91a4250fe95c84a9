"""Every "did you mean" about models has the same names in the same order."""

from __future__ import annotations

from model_zoo.similar_names import similar_names

KNOWN = ("zoo_lite1", "zoo_lite0", "zoo_lite2", "zoo_lite3", "all_minilm_l6_v2", "mood_gru")


def test_names_that_contain_it_come_first_and_equals_in_alphabetical_order() -> None:
    assert similar_names("zoo-lite", KNOWN) == ["zoo_lite0", "zoo_lite1", "zoo_lite2"]
    assert (
        similar_names("zoo_lite9", KNOWN)
        == similar_names("zoo_lite9", KNOWN[::-1])
        == [f"zoo_lite{i}" for i in (0, 1, 2)]
    )
    assert similar_names("MiniLM", KNOWN) == ["all_minilm_l6_v2"]
    assert similar_names("mod_gru", KNOWN) == ["mood_gru"]


def test_nothing_is_similar_to_a_name_without_letters_or_with_too_few() -> None:
    for name in ("", "--", "l", "qqqqqqqq"):
        assert similar_names(name, KNOWN) == []
    assert similar_names("anything", ()) == []
