"""Networks that write text are pulled where they write what their library writes; every row of a batch is as if alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from model_zoo.errors import NotDerivable, NotEqual
from model_zoo.network import load_network
from model_zoo.references.reference import parse_reference
from service.references.library_answers import answer
from service.references.pull import Pulled, pull_reference
from service.references.verification_inputs import TEXTS
from service.runtime.network import NetworkRuntime
from service.tasks.table import task_for
from service.tasks.text.prompted_generation import PromptedGeneration
from service.types import GeneratedText, Item, Options, TensorInstance, TextInstance
from tests.support.references import tiny_generation

MAKERS: dict[str, Callable[[Path], Path]] = {
    "gpt2": tiny_generation.gpt2,
    "llama": tiny_generation.llama,
    "t5": tiny_generation.t5,
    "bart": tiny_generation.bart,
    "marian": tiny_generation.marian,
}
SHORT = ("The film was a delight.", "lamp", "Each evening the keeper climbed the stairs to light the lamp!")


@pytest.fixture(autouse=True)
def library_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library answers in this process: its own takes ten seconds to import it."""
    monkeypatch.setattr("service.references.pull.library_answers", lambda _, asked: answer(asked))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("repositories")
    for name in MAKERS:
        (root / name).mkdir()
    return {name: make(root / name) for name, make in MAKERS.items()}


class Served:
    """A pulled network that answers in this process, one batch at a time."""

    def __init__(self, pulled: Pulled) -> None:
        self.card = pulled.card
        task = task_for(pulled.card, pulled.files)
        assert isinstance(task, PromptedGeneration)
        self.task = task
        self.runtime = NetworkRuntime(load_network(pulled.card, pulled.files), "cpu")

    def item(self, text: str, **options: Any) -> Item:
        (item,) = self.task.preprocess([TextInstance(text.encode())], ["instances[0]"])
        assert isinstance(item, Item)
        return self.task.with_options(item, Options(**options))

    def rows(self, items: list[Item]) -> list[Any]:
        return self.task.split(self.runtime.run(self.task.collate(items)[0]), items)

    def write(self, text: str, **options: Any) -> GeneratedText:
        item = self.item(text, **options)
        found = self.task.postprocess(self.rows([item])[0], item, Options())
        assert isinstance(found, GeneratedText)
        return found


@pytest.fixture(scope="module")
def served(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Served]:
    made: dict[str, Served] = {}

    def get(name: str) -> Served:
        if name not in made:
            reference = parse_reference(f"local:{folders[name]}")
            made[name] = Served(pull_reference(reference, tmp_path_factory.mktemp("home"), name="tiny"))
        return made[name]

    return get


@pytest.mark.parametrize("name", MAKERS)
def test_network_writes_what_its_library_writes(name: str, served: Callable[[str], Served]) -> None:
    card = served(name).card
    assert card.verification is not None
    assert card.verification.inputs == len(TEXTS)
    assert card.verification.max_difference < 1e-4
    assert card.tolerance.max_abs_error < 1e-3, "it is of probabilities, not of token ids"
    assert card.task == ("text-generation" if name in ("gpt2", "llama") else "text2text-generation")
    assert card.generates


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_continuation_is_that_of_the_pipeline(
    name: str, served: Callable[[str], Served], folders: dict[str, Path]
) -> None:
    pipeline: Any = transformers.pipeline
    pipe = pipeline("text-generation", model=str(folders[name]), device="cpu", dtype=torch.float32)
    for text in SHORT:
        (whole,) = pipe(text, max_new_tokens=20, do_sample=False, return_tensors=True)
        expected = pipe.tokenizer.decode(whole["generated_token_ids"], skip_special_tokens=True)
        prompt = pipe.tokenizer.decode(pipe.tokenizer(text)["input_ids"], skip_special_tokens=True)
        assert prompt + served(name).write(text, max_new_tokens=20).text == expected


def test_continuation_that_begins_a_word_keeps_the_space_before_it(served: Callable[[str], Served]) -> None:
    """Decoded alone, the first word of a text has no space before it; the answer is what follows the prompt."""
    it = served("llama")
    item = it.item("The film was a")
    _, *ids = it.item("delight").tensors["input_ids"]  # without the token that begins a text
    found = it.task.postprocess({"output_ids": np.array(ids)}, item, Options())
    assert isinstance(found, GeneratedText)
    assert found.text == " delight"


@pytest.mark.parametrize("name", MAKERS)
def test_rows_of_a_batch_equal_single_rows(name: str, served: Callable[[str], Served]) -> None:
    it = served(name)
    limits = (1, 17, 5, 30, 9)
    items = [it.item(text, max_new_tokens=limit) for text, limit in zip((*SHORT, *TEXTS[1:3]), limits, strict=True)]
    for item, limit, together in zip(items, limits, it.rows(items), strict=True):
        (alone,) = it.rows([item])
        assert 1 <= len(together["output_ids"]) <= limit
        assert together["output_ids"].tolist() == alone["output_ids"].tolist()
        np.testing.assert_allclose(together["probabilities"], alone["probabilities"], atol=1e-4)


@pytest.mark.parametrize("name", MAKERS)
def test_padded_tensors_equal_those_without_padding(name: str, served: Callable[[str], Served]) -> None:
    it = served(name)
    bare = it.item(SHORT[0], max_new_tokens=6)
    ids, mask = bare.tensors["input_ids"], bare.tensors["attention_mask"]
    expected = it.rows([bare])[0]["output_ids"].tolist()
    for before, after in ((3, 0), (0, 5), (2, 2)):
        around = [(before, after)]
        row = {
            "input_ids": np.pad(ids, around, constant_values=2),
            "attention_mask": np.pad(mask, around),
            "max_new_tokens": np.array([6], np.int64),
        }
        item = it.task.row(TensorInstance(row), "instances[0].tensors")
        assert it.rows([item])[0]["output_ids"].tolist() == expected


def test_shorter_limit_gives_the_beginning_of_the_longer_answer(served: Callable[[str], Served]) -> None:
    it = served("gpt2")
    whole = it.rows([it.item(SHORT[0], max_new_tokens=12)])[0]["output_ids"].tolist()
    found = it.write(SHORT[0], max_new_tokens=4)
    assert (found.tokens, found.finish_reason) == (4, "length")
    assert it.rows([it.item(SHORT[0], max_new_tokens=4)])[0]["output_ids"].tolist() == whole[:4]


def test_answer_stops_at_the_token_that_ends_it(folders: dict[str, Path], tmp_path: Path) -> None:
    """The third token that the network writes is declared to be such a token."""
    folder = tiny_generation.gpt2(tmp_path)
    before = Served(pull_reference(parse_reference(f"local:{folder}"), tmp_path / "home", name="before"))
    written = before.rows([before.item(SHORT[0], max_new_tokens=12)])[0]["output_ids"].tolist()
    stop = next(i for i in range(2, 12) if written[i] not in written[:i])
    rules = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps({**rules, "eos_token_id": [0, written[stop]]}))
    it = Served(pull_reference(parse_reference(f"local:{folder}"), tmp_path / "home", name="after"))
    found = it.write(SHORT[0], max_new_tokens=12)
    assert (found.tokens, found.finish_reason) == (stop + 1, "stop")
    others = [it.item(text, max_new_tokens=12) for text in SHORT]
    assert it.rows(others)[0]["output_ids"].tolist() == written[: stop + 1], "the others go on"


def test_default_length_is_that_of_the_card(served: Callable[[str], Served]) -> None:
    it = served("gpt2")
    assert it.item("lamp").tensors["max_new_tokens"].tolist() == [it.task.recipe.default_new_tokens]


def test_long_text_keeps_its_end_for_a_continuation_and_its_beginning_otherwise(
    served: Callable[[str], Served],
) -> None:
    for name in ("gpt2", "t5"):
        it = served(name)
        item = it.item(TEXTS[3])
        most = it.task.recipe.max_tokens
        assert item.length == most
        assert item.notes["truncated"] is True
        part = TEXTS[3][-200:] if name == "gpt2" else TEXTS[3][:200]
        other = it.item(part).tensors["input_ids"]
        ours = item.tensors["input_ids"]
        assert (ours[-10:] == other[-10:]).all() if name == "gpt2" else (ours[:10] == other[:10]).all()


def test_other_tokens_of_the_library_are_refused(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other(_: str, asked: Any) -> list[Any]:
        found = answer(asked)
        found[1]["ids"][2] += 1
        return found

    monkeypatch.setattr("service.references.pull.library_answers", other)
    with pytest.raises(NotEqual, match="writes the tokens"):
        pull_reference(parse_reference(f"local:{folders['gpt2']}"), tmp_path, name="tiny")


def test_network_that_ignores_its_mask_is_refused(tmp_path: Path) -> None:
    """RWKV reads padding like any token, so that its rows cannot share a batch."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    fast = tiny_generation.byte_tokenizer(folder, eos_token="<|endoftext|>")
    torch.manual_seed(16)
    settings = transformers.RwkvConfig(
        vocab_size=len(fast), hidden_size=32, attention_hidden_size=32, num_hidden_layers=2, context_length=96
    )
    transformers.RwkvForCausalLM(settings).eval().save_pretrained(folder)
    with pytest.raises(NotDerivable, match="depend on the other rows of a batch"):
        pull_reference(parse_reference(f"local:{folder}"), tmp_path / "home", name="tiny")
