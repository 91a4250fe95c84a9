"""A card says what the repository says; what the repository does not say is asked for, and what Zoo lacks is refused by name."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from model_zoo.errors import NotDerivable
from model_zoo.references.card_plan import TASKS, CardPlan, Given
from model_zoo.references.derive import derive
from model_zoo.references.local import LocalRepository
from model_zoo.references.transformers import card as transformers_card
from tests.support.references.fake_repository import FakeRepository

BERT = {
    "model_type": "bert",
    "architectures": ["BertForSequenceClassification"],
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 40,
    "pad_token_id": 7,
    "id2label": {"0": "bad", "1": "good"},
}
TOKENIZER = {"added_tokens": [{"id": 7, "content": "[PAD]"}], "model": {}}
TEXT = {
    "config.json": BERT,
    "model.safetensors": b"weights",
    "tokenizer.json": TOKENIZER,
    "tokenizer_config.json": {"pad_token": "[PAD]", "model_max_length": 512},
}
VIT = {
    "model_type": "vit",
    "architectures": ["ViTForImageClassification"],
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "image_size": 32,
    "patch_size": 8,
    "id2label": {"0": "cat", "1": "cup", "2": "rocket"},
}
PROCESSOR = {
    "size": {"height": 32, "width": 32},
    "resample": 3,
    "image_mean": [0.1, 0.2, 0.3],
    "image_std": [0.4, 0.5, 0.6],
}
CONVNEXT = {"image_processor_type": "ConvNextImageProcessor"}
IMAGE = {"config.json": VIT, "model.safetensors": b"weights", "preprocessor_config.json": PROCESSOR}
TIMM = {
    "config.json": {
        "architecture": "test_resnet",
        "num_classes": 3,
        "label_names": ["cat", "cup", "rocket"],
        "pretrained_cfg": {"input_size": [3, 160, 160], "interpolation": "bicubic", "crop_pct": 0.8, "tag": "mine"},
    },
    "model.safetensors": b"weights",
}


def planned(contents: dict[str, Any], given: Given | None = None) -> CardPlan:
    return derive(FakeRepository(contents), given or Given())


def changed(contents: dict[str, Any], path: str, **fields: Any) -> dict[str, Any]:
    """The files with other fields in one of them; None removes a field."""
    document = {**contents.get(path, {}), **fields}
    return {**contents, path: {name: value for name, value in document.items() if value is not None}}


def without(contents: dict[str, Any], path: str) -> dict[str, Any]:
    return {name: content for name, content in contents.items() if name != path}


def refusal(contents: dict[str, Any], given: Given | None = None) -> NotDerivable:
    with pytest.raises(NotDerivable) as raised:
        planned(contents, given)
    assert str(raised.value).startswith("hf:org/name cannot be served: ")
    return raised.value


# ── texts ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_text_classifier_takes_classes_tokens_and_padding_from_its_files() -> None:
    plan = planned(TEXT)
    fields = plan.fields
    assert (plan.library, fields["task"], fields["family"]) == ("transformers", "text-classification", "transformer")
    assert fields["class_names"] == ("bad", "good")
    assert fields["recipe"]["pad_id"] == 7
    assert fields["recipe"]["max_tokens"] == 40, "the network has no more positions"
    assert fields["licence"] == {"package": "MIT", "weights": "MIT"}
    assert set(plan.roles.values()) == {"model.safetensors", "config.json", "tokenizer.json"}


def test_roberta_has_fewer_tokens_than_positions() -> None:
    """Its positions begin after that of the padding."""
    config = {**BERT, "model_type": "roberta", "architectures": ["RobertaForSequenceClassification"], "pad_token_id": 1}
    tokenizer = {"added_tokens": [{"id": 1, "content": "[PAD]"}], "model": {}}
    assert planned({**TEXT, "config.json": config, "tokenizer.json": tokenizer}).fields["recipe"]["max_tokens"] == 38


def test_classes_that_do_not_exclude_each_other_get_sigmoid() -> None:
    assert planned(TEXT).fields["activation"] == "softmax"
    several = changed(TEXT, "config.json", problem_type="multi_label_classification")
    assert planned(several).fields["activation"] == "sigmoid"
    images = changed(IMAGE, "config.json", problem_type="multi_label_classification")
    assert planned(images).fields["activation"] == "sigmoid"


@pytest.mark.parametrize(
    ("settings", "config", "typed"),
    [
        ({"tokenizer_class": "BertTokenizer"}, {}, True),
        ({"tokenizer_class": "PreTrainedTokenizerFast"}, {}, False),
        ({"tokenizer_class": "BertTokenizer", "model_input_names": ["input_ids", "attention_mask"]}, {}, False),
        ({"model_input_names": ["input_ids", "token_type_ids", "attention_mask"]}, {}, True),
        ({}, {}, True),  # the class that transformers takes for BERT
        ({"tokenizer_class": "NoSuchTokenizer"}, {}, False),
        ({"tokenizer_class": "BertTokenizer"}, {"type_vocab_size": 1}, False),
    ],
)
def test_texts_of_a_pair_are_numbered_where_tokenizer_and_network_do(
    settings: dict[str, Any], config: dict[str, Any], typed: bool
) -> None:
    fields = planned(changed(changed(TEXT, "tokenizer_config.json", **settings), "config.json", **config)).fields
    names = [tensor["name"] for tensor in fields["signature"]["inputs"]]
    assert names == ["input_ids", "attention_mask", *(["token_type_ids"] if typed else [])]
    assert fields["recipe"]["pairs"]


def test_tokens_of_a_text_can_be_given() -> None:
    assert planned(TEXT, Given(settings={"max_tokens": "12"})).fields["recipe"]["max_tokens"] == 12
    assert planned(TEXT, Given(settings={"max_tokens": "5000"})).fields["recipe"]["max_tokens"] == 40
    assert "max_tokens" in refusal(TEXT, Given(settings={"max_tokens": "-3"})).reason


def test_classes_without_names_are_asked_for() -> None:
    nameless = changed(TEXT, "config.json", id2label=None, num_labels=3)
    assert refusal(nameless).option.startswith("--labels")
    assert planned(nameless, Given(labels=("a", "b", "c"))).fields["class_names"] == ("a", "b", "c")
    assert "3 classes, but 2 are named" in refusal(nameless, Given(labels=("a", "b"))).reason
    gaps = changed(TEXT, "config.json", id2label={"0": "a", "2": "c"}, num_labels=2)
    assert refusal(gaps).option.startswith("--labels")


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        (without(TEXT, "tokenizer.json"), "tokenizer.json"),
        ({**TEXT, "tokenizer.json": b"[1, 2]"}, "tokenizer.json is not a JSON object"),
        (changed(TEXT, "tokenizer_config.json", padding_side="left"), "left"),
        (changed(TEXT, "tokenizer_config.json", truncation_side="left"), "cuts long texts on the left"),
        (changed(TEXT, "tokenizer.json", truncation={"direction": "Left"}), "cuts long texts on the left"),
        (changed(changed(TEXT, "tokenizer_config.json", pad_token=None), "config.json", pad_token_id=None), "padding"),
        (changed(TEXT, "config.json", pad_token_id=3), "pads with token 7, and its network expects 3"),
        ({**TEXT, "tokenizer.json": {"added_tokens": [{"id": 50, "content": "[PAD]"}]}}, "number 50"),
        (changed(TEXT, "config.json", problem_type="regression"), "regression"),
        (changed(TEXT, "config.json", id2label={"0": "score"}), "one number"),
        (changed(TEXT, "config.json", auto_map={"AutoModel": "modeling.Mine"}), "auto_map"),
        (changed(TEXT, "config.json", model_type="a_new_kind"), "a_new_kind"),
        (changed(TEXT, "config.json", vocab_size="many"), "config.json"),
        (changed(TEXT, "config.json", hidden_size=15), "cannot build"),
        (changed(TEXT, "config.json", architectures=["BertForQuestionAnswering"]), "BertForQuestionAnswering"),
        (changed(TEXT, "config.json", architectures=None), "''"),
        ({**TEXT, "adapter_config.json": {}}, "adapter"),
        ({"README.md": b"# Nothing"}, "modules.json"),
        ({**TEXT, "config.json": b"{"}, "config.json is not a JSON object"),
        (without({**TEXT, "pytorch_model.bin": b"pickle"}, "model.safetensors"), "it has pytorch_model.bin"),
        (without(TEXT, "model.safetensors"), "no model.safetensors"),
        ({**TEXT, "model.safetensors": b""}, "model.safetensors is empty"),
        (changed(TEXT, "config.json", num_hidden_layers=10**30), "num_hidden_layers"),
        (changed(TEXT, "config.json", num_hidden_layers=1001), "at most 1,000"),
        (changed(TEXT, "config.json", num_hidden_groups=1_000_000), "at most 1,000"),
        (changed(TEXT, "config.json", num_local_experts=1_000_000), "at most 1,000"),
        (changed(TEXT, "config.json", depths=[1000] * 1000), "adds up to more than 1,000 layers"),
        (changed(TEXT, "config.json", vocab_size=10**12), "vocab_size"),
        (changed(TEXT, "config.json", nested=[{"layers": [5000]}]), "nested.layers"),
        (
            changed(TEXT, "config.json", attn_implementation="evil/kernel"),
            "attn_implementation in config.json is 'evil/",
        ),
        (changed(TEXT, "config.json", _attn_implementation="flash_attention_2"), "expected one of eager, sdpa"),
        (changed(TEXT, "config.json", attn_implementation={"": "evil/kernel"}), "fetch no code"),
        (changed(TEXT, "config.json", text_config={"_attn_implementation": "a/b"}), "text_config._attn_implementation"),
        (changed(TEXT, "config.json", experts_implementation="sonicmoe"), "experts_implementation"),
        (changed(TEXT, "config.json", id2label={"0": "\ud800", "1": "good"}), "class 0 is no text"),
        (changed(TEXT, "config.json", id2label={"0": "bad", "1": "go\nod"}), "class 1 has several lines: 'go"),
        (
            changed(TEXT, "config.json", id2label={"0": "bad", "1": "x" * 1001}),
            "has 1,001 characters; expected at most",
        ),
    ],
)
def test_what_zoo_does_not_have_is_refused_by_name(contents: dict[str, Any], words: str) -> None:
    assert words in refusal(contents).reason


def test_built_in_attention_and_classes_named_after_layers_are_taken() -> None:
    planned(changed(TEXT, "config.json", attn_implementation="eager", label2id={"layer cake": 5000}))


def test_all_problems_are_told_at_once_and_those_without_an_answer_first() -> None:
    nameless = changed(TEXT, "config.json", id2label=None, num_labels=3, max_position_embeddings=None)
    nameless = changed(nameless, "tokenizer_config.json", model_max_length=None)
    pickled = without({**nameless, "pytorch_model.bin": b"pickle"}, "model.safetensors")
    classes = "it does not name its 3 classes (give --labels FILE, a name a line)"
    assert refusal(without(pickled, "tokenizer.json")).reason == (
        "(1) it has no model.safetensors; it has pytorch_model.bin, and Zoo reads weights from safetensors only; "
        f"(2) it has no tokenizer.json, the file of a fast tokenizer; (3) {classes}"
    )
    assert refusal(pickled, Given(labels=("a", "b", "c"))).reason.startswith("(1) it has no model.safetensors")
    assert refusal(changed(pickled, "config.json", auto_map={"AutoModel": "modeling.Mine"})).reason.endswith(
        "(auto_map)"
    )
    other = refusal(changed(pickled, "config.json", architectures=["BertForQuestionAnswering"])).reason
    assert other.index("model.safetensors") < other.index("BertForQuestionAnswering")
    photos = changed(without(IMAGE, "model.safetensors"), "config.json", id2label=None)
    assert "(2) it has no preprocessor_config.json" in refusal(without(photos, "preprocessor_config.json")).reason
    assert "(2) its network is for text-classification" in refusal(pickled, Given("fill-mask", ("a", "b", "c"))).reason


def test_weights_in_several_files_are_all_fetched() -> None:
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    sharded = {**without(TEXT, "model.safetensors"), "model.safetensors.index.json": index}
    assert "model-1.safetensors" in refusal(sharded).reason
    plan = planned({**sharded, "model-1.safetensors": b"1", "model-2.safetensors": b"2"})
    assert {"model-1.safetensors", "model-2.safetensors", "model.safetensors.index.json"} <= set(plan.paths)
    assert "weight_map" in refusal({**sharded, "model.safetensors.index.json": {}}).reason


def test_task_is_checked_against_the_network() -> None:
    assert planned(TEXT, Given(task="text-classification")).fields["task"] == "text-classification"
    assert "not for image-classification" in refusal(TEXT, Given(task="image-classification")).reason
    reason = refusal(TEXT, Given(task="summarization")).reason
    assert all(task in reason for task in TASKS)


# ── networks that write text ──────────────────────────────────────────────────────────────────────────────────────────

GPT2 = {
    "model_type": "gpt2",
    "architectures": ["GPT2LMHeadModel"],
    "vocab_size": 50,
    "n_positions": 40,
    "n_embd": 16,
    "n_layer": 1,
    "n_head": 2,
    "eos_token_id": 9,
}
WRITER = {"config.json": GPT2, "model.safetensors": b"weights", "tokenizer.json": {"model": {}}}
REWRITER = {
    **WRITER,
    "config.json": {
        "model_type": "t5",
        "architectures": ["T5ForConditionalGeneration"],
        "vocab_size": 50,
        "d_model": 16,
        "d_kv": 8,
        "d_ff": 16,
        "num_layers": 1,
        "num_heads": 2,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "decoder_start_token_id": 0,
    },
    "tokenizer_config.json": {"model_max_length": 512},
}


def test_causal_network_shares_its_positions_between_prompt_and_answer() -> None:
    fields = planned(WRITER).fields
    recipe = fields["recipe"]
    assert fields["task"] == "text-generation"
    assert (recipe["max_tokens"], recipe["most_new_tokens"], recipe["default_new_tokens"]) == (20, 20, 20)
    assert (recipe["pad_id"], recipe["stop_ids"], recipe["continues"]) == (9, (9,), True)
    assert planned(WRITER, Given(settings={"max_tokens": "7"})).fields["recipe"]["max_tokens"] == 7


def test_left_truncation_is_refused_where_the_beginning_of_a_prompt_is_kept() -> None:
    left = {"tokenizer_config.json": {"model_max_length": 512, "truncation_side": "left"}}
    assert "cuts long texts on the left" in refusal({**REWRITER, **left}).reason
    assert planned({**WRITER, **left}).fields["recipe"]["continues"]


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ({"eos_token_id": "x"}, "eos_token_id in generation_config.json is 'x'; expected tokens, 0 to"),
        ({"suppress_tokens": [10**9]}, "suppress_tokens in generation_config.json is [1000000000]"),
        ({"bad_words_ids": [5]}, "bad_words_ids in generation_config.json is [5]; expected lists of tokens"),
        ({"forced_bos_token_id": -1}, "forced_bos_token_id in generation_config.json is -1; expected a token"),
        ({"repetition_penalty": 0}, "repetition_penalty in generation_config.json is 0; expected a positive number"),
        ({"min_length": 1.5}, "min_length in generation_config.json is 1.5; expected a whole number"),
    ],
)
def test_rule_for_writing_that_the_library_cannot_use_is_refused_by_name(rules: dict[str, Any], words: str) -> None:
    assert words in refusal({**REWRITER, "generation_config.json": rules}).reason
    assert "eos_token_id in config.json is 'x'" in refusal(changed(WRITER, "config.json", eos_token_id="x")).reason


def test_kind_of_numbers_that_torch_does_not_have_is_refused_by_name() -> None:
    reason = refusal(changed(IMAGE, "config.json", dtype="float8_evil")).reason
    assert reason.startswith("dtype in config.json is 'float8_evil'; expected one of float16")
    assert planned(changed(IMAGE, "config.json", torch_dtype="bfloat16"))


def test_network_with_a_decoder_takes_its_rules_from_the_generation_config() -> None:
    rules = {"eos_token_id": [1, 3], "decoder_start_token_id": 2, "no_repeat_ngram_size": 3, "num_beams": 4, "top_k": 5}
    fields = planned({**REWRITER, "generation_config.json": rules}).fields
    assert fields["task"] == "text2text-generation"
    assert fields["architecture"]["arguments"]["generation"] == {
        "eos_token_id": [1, 3],
        "decoder_start_token_id": 2,
        "no_repeat_ngram_size": 3,
        "pad_token_id": 0,
    }
    assert (fields["recipe"]["max_tokens"], fields["recipe"]["stop_ids"]) == (512, (1, 3))


def test_rules_for_writing_that_are_not_used_are_named() -> None:
    rules = {"repetition_penalty": 1.3, "encoder_no_repeat_ngram_size": 3, "num_beams": 1, "do_sample": True}
    for writer, names in (
        (WRITER, "repetition_penalty, encoder_no_repeat_ngram_size"),
        (REWRITER, "encoder_no_repeat_ngram_size"),
    ):
        plan = planned({**writer, "generation_config.json": rules})
        assert plan.notes == (f"its makers' rules for writing are not used: {names}",)
        assert f" Not used of its rules for writing: {names}." in plan.fields["provenance"]
    assert planned({**WRITER, "generation_config.json": {"num_beams": 1, "guidance_scale": 1.0}}).notes == ()


def test_rules_for_transcripts_that_are_not_used_are_named() -> None:
    rules = {"no_speech_threshold": 0.6, "num_beams": 5, "repetition_penalty": 1.0, "suppress_tokens": [3]}
    plan = planned(changed(WHISPER, "generation_config.json", **rules))
    assert plan.notes == ("its makers' rules for writing are not used: num_beams, no_speech_threshold",)
    assert " Not used of its rules for writing: num_beams, no_speech_threshold." in plan.fields["provenance"]
    assert planned(WHISPER).notes == ()
    words = planned({**CTC, "language_model/5gram.bin": b"words"})
    assert words.notes == ("its makers' rules for writing are not used: language_model",)


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        (without(WRITER, "tokenizer.json"), "tokenizer.json"),
        ({**WRITER, "tokenizer.json": b"[]"}, "tokenizer.json is not a JSON object"),
        (changed(WRITER, "config.json", eos_token_id=50), "is 50; expected tokens, 0 to 49"),
        (changed(WRITER, "config.json", n_positions=1), "too few"),
        (changed(WRITER, "config.json", architectures=["BertForCausalLM"]), "BertForCausalLM"),
        (changed(WRITER, "config.json", vocab_size=None), "vocab_size"),
        (changed(REWRITER, "config.json", architectures=["BlipForConditionalGeneration"], model_type="blip"), "Blip"),
        (changed(REWRITER, "config.json", decoder_start_token_id=None), "with which token an answer begins"),
        (without(REWRITER, "tokenizer_config.json"), "how many tokens"),
    ],
)
def test_network_that_cannot_write_is_refused_by_name(contents: dict[str, Any], words: str) -> None:
    assert words in refusal(contents).reason


# ── networks that read sounds ─────────────────────────────────────────────────────────────────────────────────────────

WAV2VEC2 = {
    "model_type": "wav2vec2",
    "architectures": ["Wav2Vec2ForSequenceClassification"],
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "conv_dim": [8, 8],
    "conv_kernel": [10, 4],
    "conv_stride": [5, 2],
    "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2,
    "feat_extract_norm": "layer",
    "id2label": {"0": "speech", "1": "music"},
}
EXTRACTOR = {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "sampling_rate": 8000, "do_normalize": True}
SOUND = {"config.json": WAV2VEC2, "model.safetensors": b"weights", "preprocessor_config.json": EXTRACTOR}


def test_sound_classifier_takes_its_recipe_from_its_extractor() -> None:
    fields = planned(SOUND).fields
    assert (fields["task"], fields["raw_input"]) == ("audio-classification", "audio")
    recipe = fields["recipe"]
    assert (recipe["sample_rate"], recipe["least_samples"], recipe["masked"]) == (8000, 25, True)
    assert fields["batching"]["max_batch_size"] > 1
    named = changed(SOUND, "preprocessor_config.json", feature_extractor_type=None)
    assert planned(named).fields["recipe"]["extractor"] == "Wav2Vec2FeatureExtractor", "by the type of the network"


def test_network_that_no_mask_keeps_padding_from_has_rows_of_its_own() -> None:
    fields = planned(changed(SOUND, "config.json", feat_extract_norm="group")).fields
    assert (fields["recipe"]["masked"], fields["batching"]["max_batch_size"]) == (False, 1)


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        (without(SOUND, "preprocessor_config.json"), "preprocessor_config.json"),
        (changed(SOUND, "preprocessor_config.json", feature_extractor_type="ClapFeatureExtractor"), "ClapFeature"),
        (changed(SOUND, "preprocessor_config.json", dither=0.1), "dither"),
        (changed(SOUND, "preprocessor_config.json", max_length=10**9), "more than 1,000,000"),
        (changed(SOUND, "preprocessor_config.json", sampling_rate=0), "sampling_rate"),
        (changed(SOUND, "config.json", conv_stride=[5]), "conv_kernel and conv_stride"),
    ],
)
def test_sounds_that_zoo_cannot_prepare_are_refused_by_name(contents: dict[str, Any], words: str) -> None:
    assert words in refusal(contents).reason


# ── networks that transcribe ──────────────────────────────────────────────────────────────────────────────────────────

LETTERS = ("<pad>", "|", "A", "B")
CTC = {
    **SOUND,
    "config.json": {**WAV2VEC2, "architectures": ["Wav2Vec2ForCTC"], "vocab_size": 4, "pad_token_id": 0},
    "vocab.json": {letter: number for number, letter in enumerate(LETTERS)},
    "tokenizer_config.json": {"do_lower_case": True},
}
WHISPER = {
    "config.json": {
        "model_type": "whisper",
        "architectures": ["WhisperForConditionalGeneration"],
        "vocab_size": 60,
        "d_model": 16,
        "encoder_layers": 1,
        "encoder_attention_heads": 2,
        "encoder_ffn_dim": 16,
        "decoder_layers": 1,
        "decoder_attention_heads": 2,
        "decoder_ffn_dim": 16,
        "num_mel_bins": 8,
        "max_source_positions": 50,
        "max_target_positions": 30,
        "decoder_start_token_id": 1,
        "pad_token_id": 0,
        "bos_token_id": 0,
        "eos_token_id": 0,
    },
    "generation_config.json": {"no_timestamps_token_id": 5, "eos_token_id": 0, "decoder_start_token_id": 1},
    "preprocessor_config.json": {
        "feature_extractor_type": "WhisperFeatureExtractor",
        "feature_size": 8,
        "chunk_length": 1,
        "hop_length": 160,
        "sampling_rate": 16000,
        "mel_filters": [[0.5]],
    },
    "tokenizer.json": {"model": {}},
    "model.safetensors": b"weights",
}


def test_tokens_of_frames_come_from_the_vocabulary() -> None:
    fields = planned(CTC).fields
    assert (fields["task"], fields["class_names"]) == ("automatic-speech-recognition", LETTERS)
    decoding = fields["recipe"]["ctc"]
    assert (decoding["blank"], decoding["delimiter"], decoding["lower"], decoding["frame_samples"]) == (
        0,
        "|",
        True,
        10,
    )


def test_network_of_many_tokens_takes_shorter_recordings() -> None:
    many = {f"t{i}": i for i in range(1, 50_000)} | {"<pad>": 0}
    wide = {**changed(CTC, "config.json", vocab_size=50_000), "vocab.json": many}
    assert planned(wide).fields["recipe"]["max_seconds"] == 30.0
    assert planned(CTC).fields["recipe"]["max_seconds"] == 600.0


def test_windows_come_from_the_generation_config() -> None:
    fields = planned(WHISPER).fields
    recipe = fields["recipe"]
    windows = recipe["windows"]
    assert (windows["prompt"], windows["first_timestamp"], windows["most_new_tokens"]) == ((1,), 6, 29)
    assert (windows["timestamp_seconds"], windows["frame_seconds"]) == (0.02, 0.01)
    assert "mel_filters" not in recipe["settings"]
    assert fields["signature"]["inputs"][0]["shape"] == (-1, 8, 100)


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        ({**CTC, "vocab.json": {"eng": {"A": 0}}}, "no token number 0"),
        ({**CTC, "vocab.json": {"<pad>": 0, "|": 1, "A": 2}}, "no token number 3"),
        ({**CTC, "vocab.json": {"<pad>": 0, "|": 1, "A": 2, "B\n": 3}}, "line end"),
        (changed(CTC, "tokenizer_config.json", pad_token="[PAD]"), "[PAD]"),
        (changed(CTC, "tokenizer_config.json", tokenizer_class="SpeechTokenizer"), "SpeechTokenizer"),
        (changed(CTC, "preprocessor_config.json", feature_extractor_type="ASTFeatureExtractor"), "reads no frames"),
        (without(WHISPER, "tokenizer.json"), "tokenizer.json"),
        (without(WHISPER, "generation_config.json"), "decoder_start_token_id"),
        (changed(WHISPER, "generation_config.json", no_timestamps_token_id=None), "no_timestamps_token_id"),
        (changed(WHISPER, "generation_config.json", no_timestamps_token_id=58), "beyond its tokens"),
        (changed(WHISPER, "generation_config.json", language="xx"), "'xx'"),
        (without(WHISPER, "preprocessor_config.json"), "preprocessor_config.json"),
    ],
)
def test_network_that_cannot_transcribe_is_refused_by_name(contents: dict[str, Any], words: str) -> None:
    assert words in refusal(contents).reason


# ── images ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_image_classifier_takes_its_recipe_from_its_processor() -> None:
    fields = planned(IMAGE).fields
    assert fields["task"] == "image-classification"
    assert fields["recipe"] == {
        "kind": "image",
        "size": (32, 32),
        "resize_shorter": 32,
        "stretch": True,
        "interpolation": "bicubic",
        "mean": (0.1, 0.2, 0.3),
        "std": (0.4, 0.5, 0.6),
    }


@pytest.mark.parametrize(
    ("processor", "size", "shorter", "stretch", "stretch_to"),
    [
        ({"size": 40}, (40, 40), 40, True, None),
        ({"size": 40, "do_center_crop": True, "crop_size": 32}, (32, 32), 40, False, (40, 40)),
        ({"size": {"height": 40, "width": 36}, "do_center_crop": True, "crop_size": 32}, (32, 32), 36, False, (40, 36)),
        (
            {"size": {"shortest_edge": 48}, "do_center_crop": True, "crop_size": {"height": 32, "width": 24}},
            (32, 24),
            48,
            False,
            None,
        ),
        ({"image_processor_type": "CLIPImageProcessor", "size": 40, "crop_size": 32}, (32, 32), 40, False, None),
        ({"image_processor_type": "DeiTImageProcessorFast", "size": None}, (224, 224), 256, False, (256, 256)),
        ({"feature_extractor_type": "DeiTFeatureExtractor", "size": None}, (224, 224), 256, False, (256, 256)),
        (
            {"image_processor_type": "LevitImageProcessor", "size": 56, "crop_size": 56},
            (56, 56),
            64,
            False,
            None,
        ),
        ({**CONVNEXT, "size": {"shortest_edge": 64}, "crop_pct": 0.5}, (64, 64), 128, False, None),
        ({**CONVNEXT, "size": {"shortest_edge": 384}, "crop_pct": 0.875}, (384, 384), 384, True, None),
        ({**CONVNEXT, "size": {"shortest_edge": 224}}, (224, 224), 256, False, None),
    ],
)
def test_sizes_are_read_as_the_library_means_them(
    processor: dict[str, Any], size: tuple[int, int], shorter: int, stretch: bool, stretch_to: tuple[int, int] | None
) -> None:
    recipe = planned({**IMAGE, "preprocessor_config.json": {**PROCESSOR, **processor}}).fields["recipe"]
    assert (recipe["size"], recipe["resize_shorter"], recipe["stretch"]) == (size, shorter, stretch)
    assert (recipe.get("stretch_to"), recipe.get("crop_rounding")) == (stretch_to, None if stretch else "down")


@pytest.mark.parametrize(
    ("kind", "interpolation", "std"),
    [
        ("ViT", "bilinear", (0.5, 0.5, 0.5)),
        ("Beit", "bicubic", (0.5, 0.5, 0.5)),
        ("Segformer", "bilinear", (0.229, 0.224, 0.225)),
    ],
)
def test_fields_that_a_processor_leaves_out_are_those_of_its_class(
    kind: str, interpolation: str, std: tuple[float, ...]
) -> None:
    processor = {"image_processor_type": f"{kind}ImageProcessor", "size": 32}
    recipe = planned({**IMAGE, "preprocessor_config.json": processor}).fields["recipe"]
    assert (recipe["interpolation"], recipe["std"]) == (interpolation, std)


def test_images_that_are_not_normalised_keep_their_values() -> None:
    recipe = planned(changed(IMAGE, "preprocessor_config.json", do_normalize=False)).fields["recipe"]
    assert (recipe["mean"], recipe["std"]) == ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


@pytest.mark.parametrize(
    ("processor", "words"),
    [
        ({"image_processor_type": "EfficientNetImageProcessor"}, "is EfficientNetImageProcessor, which Zoo does not"),
        ({"image_processor_type": "PerceiverImageProcessor"}, "PerceiverImageProcessor"),
        ({"feature_extractor_type": "MyFeatureExtractor"}, "MyFeatureExtractor"),
        ({**CONVNEXT, "size": {"height": 32, "width": 32}}, "crop_pct"),
        ({"do_flip_channel_order": True}, "do_flip_channel_order"),
        ({"do_pad": True}, "do_pad"),
        ({"do_resize": False}, "not resized"),
        ({"do_rescale": False}, "0..255"),
        ({"rescale_factor": 0.5}, "0..255"),
        ({"resample": 1}, "filter 1"),
        ({"image_mean": [0.5]}, "image_mean"),
        ({"image_std": "x"}, "image_std"),
        ({"image_std": [0.5, 0.0, 0.5]}, "std must be positive"),
        (
            {"size": {"height": 32, "width": 20_000}},
            "size in preprocessor_config.json is 20000 pixels; expected at most",
        ),
        (
            {**CONVNEXT, "size": {"shortest_edge": 32}, "crop_pct": 1e-9},
            "by crop_pct in preprocessor_config.json is 319",
        ),
        ({"size": {"shortest_edge": 32}}, "differ in size"),
        ({"size": {"longest_edge": 32}}, "size in"),
        ({"size": {"shortest_edge": 20}, "do_center_crop": True, "crop_size": 32}, "larger"),
    ],
)
def test_processors_that_zoo_does_not_have_are_refused(processor: dict[str, Any], words: str) -> None:
    assert words in refusal({**IMAGE, "preprocessor_config.json": {**PROCESSOR, **processor}}).reason


def test_image_network_without_a_processor_or_with_other_channels_is_refused() -> None:
    assert "preprocessor_config.json" in refusal(without(IMAGE, "preprocessor_config.json")).reason
    assert "4 channels" in refusal(changed(IMAGE, "config.json", num_channels=4)).reason


# ── timm ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_timm_network_takes_its_transform_from_its_configuration() -> None:
    plan = planned(TIMM)
    fields = plan.fields
    assert (plan.library, fields["task"], fields["family"]) == ("timm", "image-classification", "cnn")
    assert fields["class_names"] == ("cat", "cup", "rocket")
    assert (fields["recipe"]["size"], fields["recipe"]["resize_shorter"]) == ((160, 160), 200)


def test_timm_network_squeezes_images_before_the_crop_where_its_configuration_says_so() -> None:
    squeezed = {**TIMM["config.json"]["pretrained_cfg"], "crop_mode": "squash"}  # type: ignore[index]
    recipe = planned(changed(TIMM, "config.json", pretrained_cfg=squeezed)).fields["recipe"]
    assert (recipe["size"], recipe["stretch_to"], recipe["stretch"]) == ((160, 160), (200, 200), False)
    whole = planned(changed(TIMM, "config.json", pretrained_cfg={**squeezed, "crop_pct": 1.0})).fields["recipe"]
    assert (whole["stretch"], whole.get("stretch_to")) == (True, None)


def test_timm_network_without_classes_is_an_encoder() -> None:
    fields = planned(changed(TIMM, "config.json", num_classes=0, label_names=None)).fields
    assert fields["task"] == "image-feature-extraction"
    assert fields["signature"]["outputs"][0]["name"] == "embedding"


def test_names_of_imagenet_are_taken_only_where_the_tag_says_so() -> None:
    thousand = changed(TIMM, "config.json", num_classes=1000, label_names=None)
    assert refusal(thousand).option.startswith("--labels")
    tagged = {**TIMM["config.json"]["pretrained_cfg"], "tag": "a1_in1k", "num_classes": 1000}  # type: ignore[index]
    names = planned(changed(thousand, "config.json", pretrained_cfg=tagged)).fields["class_names"]
    assert names[281:283] == ("tabby, tabby cat", "tiger cat")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"architecture": "resnet_of_mine"}, "resnet_of_mine"),
        ({"architecture": None}, "None"),
        ({"num_classes": -1}, "num_classes"),
        ({"num_classes": "many"}, "num_classes"),
        ({"model_args": {"no_such_argument": 1}}, "cannot build"),
        ({"model_args": [1]}, "model_args"),
        ({"model_args": {"model_name": "hf-hub:evil/elsewhere"}}, "model_name"),
        ({"model_args": {"checkpoint_path": "/any/file.pth"}}, "checkpoint_path"),
        ({"model_args": {"pretrained_cfg": {}}}, "pretrained_cfg"),
        ({"model_args": {"features_only": True}}, "features_only"),
        ({"pretrained_cfg": {"input_size": [3, 160, 160], "interpolation": "nearest"}}, "nearest"),
        ({"pretrained_cfg": {"input_size": [3, 160, 160], "crop_mode": "border"}}, "border"),
        ({"pretrained_cfg": {"input_size": [3, 160, 120], "crop_pct": 0.9}}, "160 × 120"),
    ],
)
def test_timm_networks_that_zoo_does_not_have_are_refused(fields: dict[str, Any], words: str) -> None:
    assert words in refusal(changed(TIMM, "config.json", **fields)).reason


# ── sentence-transformers ─────────────────────────────────────────────────────────────────────────────────────────────

MODULES = [
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
]
SENTENCE = {
    **TEXT,
    "config.json": {**BERT, "architectures": ["BertModel"]},
    "modules.json": MODULES,
    "1_Pooling/config.json": {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False},
    "sentence_bert_config.json": {"max_seq_length": 24},
}


def test_sentence_encoder_takes_pooling_scaling_and_tokens_from_its_modules() -> None:
    plan = planned(SENTENCE)
    recipe = plan.fields["recipe"]
    assert (plan.library, plan.fields["task"]) == ("sentence-transformers", "feature-extraction")
    assert (recipe["pooling"], recipe["normalize"], recipe["max_tokens"]) == ("mean", True, 24)
    assert plan.fields["signature"]["outputs"] == [{"name": "embedding", "datatype": "FP32", "shape": (-1, 16)}]


def test_sentence_encoder_of_the_first_token_without_scaling() -> None:
    files = {**SENTENCE, "modules.json": MODULES[:2], "1_Pooling/config.json": {"pooling_mode_cls_token": True}}
    recipe = planned(files).fields["recipe"]
    assert (recipe["pooling"], recipe["normalize"]) == ("cls", False)


def test_prompt_of_every_text_is_kept() -> None:
    prompts = {"prompts": {"query": "query: "}, "default_prompt_name": "query"}
    assert planned({**SENTENCE, "config_sentence_transformers.json": prompts}).fields["recipe"]["prefix"] == "query: "


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        ({"modules.json": [*MODULES[:2], {"path": "2_Dense", "type": "sentence_transformers.models.Dense"}]}, "Dense"),
        ({"modules.json": {"a": 1}}, "modules.json"),
        ({"modules.json": [MODULES[0], {"path": "1_Pooling", "type": "evil.Pooling"}]}, "evil.Pooling"),
        ({"modules.json": b"["}, "modules.json"),
        ({"1_Pooling/config.json": {"pooling_mode_max_tokens": True}}, "pooling_mode_max_tokens"),
        ({"1_Pooling/config.json": {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True}}, "pooling"),
        ({"1_Pooling/config.json": {}}, "not stated"),
    ],
)
def test_modules_that_zoo_does_not_have_are_refused(contents: dict[str, Any], words: str) -> None:
    assert words in refusal({**SENTENCE, **contents}).reason


# ── all ───────────────────────────────────────────────────────────────────────────────────────────────────────────────

ODD: list[Any] = [None, True, 0, -1, 1.5, "x", "²", [], {}, [1], {"a": 1}, [[[]]], "1" * 5000]


@pytest.mark.parametrize("value", ODD, ids=lambda value: str(value)[:10])
def test_field_of_another_form_is_refused_in_words_or_not_read(value: Any) -> None:
    """Every field of every file that is read; what is accepted makes a valid card."""
    for contents in (TEXT, IMAGE, TIMM, SENTENCE):
        for path, document in contents.items():
            for field in document if isinstance(document, dict) else ():
                with suppress(NotDerivable):
                    planned({**contents, path: {**document, field: value}})
    for field in TIMM["config.json"]["pretrained_cfg"]:  # type: ignore[index]
        cfg = {**TIMM["config.json"]["pretrained_cfg"], field: value}  # type: ignore[index]
        with suppress(NotDerivable):
            planned(changed(TIMM, "config.json", pretrained_cfg=cfg))
    for key in ("resample", "crop_pct", "size", "crop_size", "do_resize", "image_mean"):
        with suppress(NotDerivable):
            planned(changed(IMAGE, "preprocessor_config.json", **{key: value}))


def test_listed_tasks_are_those_of_all_planners() -> None:
    others = {
        "feature-extraction",
        "image-classification",
        "image-feature-extraction",
    }  # sentence-transformers and timm
    assert list(TASKS) == sorted({*others, *transformers_card.TASKS})


@pytest.mark.parametrize("kind", ["BertForSequenceClassification", "BertForMaskedLM"])
def test_earlier_vocabulary_is_refused_with_the_way_to_a_fast_tokenizer(kind: str) -> None:
    contents = {**without(TEXT, "tokenizer.json"), "config.json": {**BERT, "architectures": [kind]}, "vocab.txt": b"a"}
    reason = refusal(contents).reason
    assert "transformers makes one of its vocab.txt" in reason
    assert reason.endswith("then zoo pull local:FOLDER")
    assert refusal(without(contents, "vocab.txt")).reason == "it has no tokenizer.json, the file of a fast tokenizer"


@pytest.mark.parametrize(
    ("files", "command"),
    [
        (("onnx/model.onnx",), "zoo pull onnx:hf:org/name"),
        (("onnx/model.onnx", "onnx/model_quantized.onnx"), "zoo pull onnx:hf:org/name --set file=onnx/model.onnx"),
    ],
)
def test_network_in_onnx_files_alone_is_refused_with_the_command_that_takes_it(
    files: tuple[str, ...], command: str
) -> None:
    onnx = dict.fromkeys(files, b"graph")
    reason = refusal({**without(TEXT, "model.safetensors"), **onnx}).reason
    assert reason.endswith(f"; as a model of tensors, without its tokenizer: {command}")
    assert refusal(onnx).reason.endswith(command)


def test_network_in_an_onnx_file_of_a_folder_is_refused_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"graph")
    with pytest.raises(NotDerivable, match=r"zoo pull onnx:FOLDER/model\.onnx$"):
        derive(LocalRepository(tmp_path))
