"""The encoder is transformers' BertModel: the same names, and the same answers in every precision, padded or not."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from model_zoo.architectures.text.bert_encoder import BertEncoder, is_plain_bert
from model_zoo.catalog import Catalog

SIZES = {
    "vocab_size": 50,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "max_position_embeddings": 16,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-12,
    "pad_token_id": 0,
}


def encoder(**changes: Any) -> BertEncoder:
    torch.manual_seed(0)
    return BertEncoder(**{**SIZES, **changes})


def padded_batch() -> tuple[Tensor, Tensor]:
    """Three rows of 9, 4 and 1 tokens."""
    mask = (torch.arange(9) < torch.tensor([[9], [4], [1]])).long()
    return torch.randint(1, 50, (3, 9), generator=torch.Generator().manual_seed(1)) * mask, mask


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_encoder_has_the_states_and_the_answers_of_bert_model(dtype: torch.dtype) -> None:
    import transformers

    theirs: Any = transformers.BertModel(transformers.BertConfig(**SIZES), add_pooling_layer=False).eval()
    ours = encoder().eval()
    assert [*ours.state_dict()] == [*theirs.state_dict()]
    ours.load_state_dict(theirs.state_dict(), strict=True)
    ours, theirs = ours.to(dtype), theirs.to(dtype)
    ids, mask = padded_batch()
    with torch.inference_mode():
        for rows in (slice(0, 3), slice(0, 1)):  # with padding, and without
            given = {"input_ids": ids[rows], "attention_mask": mask[rows]}
            torch.testing.assert_close(
                ours(**given).last_hidden_state, theirs(**given).last_hidden_state, atol=1e-6, rtol=0
            )


def test_dropouts_in_training_are_those_of_bert_model() -> None:
    import transformers

    theirs: Any = transformers.BertModel(transformers.BertConfig(**SIZES), add_pooling_layer=False).train()
    ours = encoder().train()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    ids, mask = padded_batch()
    answers = []
    for network in (ours, theirs):
        torch.manual_seed(2)
        answers.append(network(input_ids=ids, attention_mask=mask).last_hidden_state[mask.bool()])
    torch.testing.assert_close(*answers, atol=1e-6, rtol=0)


def test_padding_does_not_change_a_row_and_an_empty_row_is_finite() -> None:
    ours = encoder().eval()
    ids, mask = padded_batch()
    with torch.inference_mode():
        together = ours(ids, mask).last_hidden_state
        alone = ours(ids[1:2, :4], mask[1:2, :4]).last_hidden_state
        empty = ours(ids, torch.zeros_like(mask)).last_hidden_state
    torch.testing.assert_close(together[1:2, :4], alone, atol=1e-6, rtol=0)
    assert empty.isfinite().all()


def test_other_arguments_are_for_the_library() -> None:
    arguments = Catalog.from_package().get("all_minilm_l6_v2").architecture.arguments
    assert is_plain_bert(arguments)
    assert not is_plain_bert({**arguments, "hidden_act": "relu"})
    assert not is_plain_bert({**arguments, "model_type": "roberta"})
    assert not is_plain_bert({**arguments, "is_decoder": True})
    assert not is_plain_bert({"model_type": "bert"})


def test_heads_that_do_not_divide_the_width_are_rejected() -> None:
    with pytest.raises(ValueError, match="hidden_size 24 is no multiple of num_attention_heads 5"):
        encoder(num_attention_heads=5)
