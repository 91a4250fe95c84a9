"""Recurrent networks over words and characters: padding changes nothing, and one pass gives the answers of all prefixes."""

import torch

from model_zoo.architectures.text.char_gru import CharGru, last_state
from model_zoo.architectures.text.word_gru import WordGru
from model_zoo.architectures.wrappers import CharacterModel, WordClassifier


def test_last_state_is_that_of_the_last_element_under_the_mask() -> None:
    states = torch.arange(12.0).reshape(2, 3, 2)
    mask = torch.tensor([[1, 1, 0], [0, 0, 0]])
    assert last_state(states, mask).tolist() == [[2.0, 3.0], [6.0, 7.0]]


def test_padding_after_a_text_does_not_change_its_answer() -> None:
    torch.manual_seed(0)
    for network in (WordGru(20, 3), CharGru(20)):
        ids = torch.randint(1, 20, (2, 6))
        mask = torch.tensor([[1] * 6, [1, 1, 1, 1, 0, 0]])
        together = network(ids, mask)
        torch.testing.assert_close(together[1:], network(ids[1:, :4], mask[1:, :4]), atol=1e-6, rtol=1e-5)


def test_every_step_is_the_answer_of_its_prefix() -> None:
    torch.manual_seed(0)
    network = CharGru(9, embedding=4, hidden=8)
    ids = torch.randint(0, 9, (2, 5))
    steps = network.every_step(ids)
    for length in range(1, 6):
        part = ids[:, :length]
        torch.testing.assert_close(steps[:, length - 1], network(part, torch.ones_like(part)), atol=1e-6, rtol=1e-5)


def test_network_without_its_own_head_still_gives_features() -> None:
    ids = torch.ones(2, 4, dtype=torch.long)
    for network in (WordClassifier(WordGru(5, 2)), CharacterModel(CharGru(5))):
        before = network.features(input_ids=ids, attention_mask=ids)
        network.drop_own_head()
        torch.testing.assert_close(network.features(input_ids=ids, attention_mask=ids), before)
        assert not any("output" in name for name in network.backbone.state_dict())
