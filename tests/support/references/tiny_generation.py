"""Tiny networks with random weights that write text: real classes of transformers, with tokenizers trained on a few sentences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from tests.support.references.tiny_repositories import WORDS, write_page

SENTENCES = [
    WORDS,
    "The film was a delight.",
    "Each evening the keeper climbed the stairs to light the lamp!",
    "bitte gern",
]
POSITIONS = 96
"""Of every network."""


def byte_tokenizer(folder: Path, **special: str) -> Any:
    """Writes a byte-level BPE tokenizer, as GPT-2 has; `special` are its special tokens by role."""
    pieces = Tokenizer(models.BPE())
    pieces.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    pieces.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=list(dict.fromkeys(special.values())),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    pieces.train_from_iterator(SENTENCES, trainer)
    return _saved(folder, pieces, special)


def sentence_tokenizer(folder: Path, before: str = "", after: str = "", **special: str) -> Any:
    """Writes a unigram tokenizer of words that begin with a mark for the space before them, as Llama and T5 have.

    `before` and `after`: tokens around every text.
    """
    pieces = Tokenizer(models.Unigram())
    pieces.pre_tokenizer = pre_tokenizers.Metaspace()
    pieces.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=120, special_tokens=list(special.values()), unk_token=special["unk_token"], show_progress=False
    )
    pieces.train_from_iterator(SENTENCES, trainer)
    around = [token for token in (before, after) if token]
    pieces.post_processor = processors.TemplateProcessing(
        single=f"{before} $A {after}".strip(),
        special_tokens=[(token, pieces.token_to_id(token)) for token in around],
    )
    return _saved(folder, pieces, special)


def _saved(folder: Path, pieces: Tokenizer, special: dict[str, str]) -> Any:
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=pieces, model_max_length=POSITIONS, **special)
    fast.save_pretrained(folder)
    return fast


def gpt2(folder: Path, **config: Any) -> Path:
    """A causal network with absolute positions, without a token for padding."""
    fast = byte_tokenizer(folder, eos_token="<|endoftext|>", bos_token="<|endoftext|>")
    torch.manual_seed(11)
    end = fast.convert_tokens_to_ids("<|endoftext|>")
    fields = {"bos_token_id": end, "eos_token_id": end, "initializer_range": 0.3, **config}
    settings = transformers.GPT2Config(
        vocab_size=len(fast), n_positions=POSITIONS, n_embd=32, n_layer=2, n_head=2, **fields
    )
    return _written(folder, transformers.GPT2LMHeadModel(settings), "text-generation")


def llama(folder: Path, **config: Any) -> Path:
    """A causal network with rotary positions, whose texts begin with a token of their own."""
    fast = sentence_tokenizer(folder, before="<s>", bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    torch.manual_seed(12)
    settings = transformers.LlamaConfig(
        vocab_size=len(fast),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=POSITIONS,
        bos_token_id=fast.bos_token_id,
        eos_token_id=fast.eos_token_id,
        initializer_range=0.3,
        **config,
    )
    return _written(folder, transformers.LlamaForCausalLM(settings), "text-generation")


def t5(folder: Path) -> Path:
    """An encoder and decoder with relative positions."""
    fast = sentence_tokenizer(folder, after="</s>", pad_token="<pad>", eos_token="</s>", unk_token="<unk>")
    torch.manual_seed(13)
    settings = transformers.T5Config(
        vocab_size=len(fast),
        d_model=32,
        d_kv=8,
        d_ff=37,
        num_layers=2,
        num_heads=4,
        pad_token_id=fast.pad_token_id,
        eos_token_id=fast.eos_token_id,
        decoder_start_token_id=fast.pad_token_id,
        initializer_factor=2.0,
    )
    return _written(folder, transformers.T5ForConditionalGeneration(settings), "text2text-generation")


def bart(folder: Path, **generation: Any) -> Path:
    """An encoder and decoder with learned positions, whose makers search by beams and forbid repetitions."""
    special = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    fast = sentence_tokenizer(folder, "<s>", "</s>", **special)
    torch.manual_seed(14)
    settings = transformers.BartConfig(
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=37,
        decoder_ffn_dim=37,
        init_std=0.3,
        **_ends(fast),
    )
    network = transformers.BartForConditionalGeneration(settings)
    rules = {"num_beams": 4, "no_repeat_ngram_size": 2, "forced_bos_token_id": fast.bos_token_id, **generation}
    network.generation_config.update(**rules)
    return _written(folder, network, "summarization")


def marian(folder: Path) -> Path:
    """A translator: an encoder and decoder that never write the token for padding."""
    fast = sentence_tokenizer(folder, after="</s>", pad_token="<pad>", eos_token="</s>", unk_token="<unk>")
    torch.manual_seed(15)
    settings = transformers.MarianConfig(
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=37,
        decoder_ffn_dim=37,
        init_std=0.3,
        **{**_ends(fast), "decoder_start_token_id": fast.pad_token_id},
    )
    network = transformers.MarianMTModel(settings)
    network.generation_config.update(bad_words_ids=[[fast.pad_token_id]], num_beams=4)
    return _written(folder, network, "translation")


def _ends(fast: Any) -> dict[str, Any]:
    return {
        "vocab_size": len(fast),
        "max_position_embeddings": POSITIONS,
        "pad_token_id": fast.pad_token_id,
        "bos_token_id": fast.bos_token_id,
        "eos_token_id": fast.eos_token_id,
        "decoder_start_token_id": fast.eos_token_id,
    }


def _written(folder: Path, network: Any, task: str) -> Path:
    network.eval().save_pretrained(folder)
    write_page(folder, task)
    return folder
