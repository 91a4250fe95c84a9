"""Adapters of peft are merged into the network that they name, and give the answers of peft."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from model_zoo.cards.weight_source import AdaptedSource
from model_zoo.errors import ConversionFailed, NotDerivable, SourceUnavailable
from model_zoo.network import load_network
from model_zoo.references.adapter import AdaptedRepository, base_of
from model_zoo.references.card_plan import Given
from model_zoo.references.local import LocalRepository
from model_zoo.references.reference import parse_reference
from model_zoo.references.repository import MOST_CONFIG_BYTES, config_of
from model_zoo.store import Store
from service.references.library_answers import answer
from service.references.pull import Pulled, pull_reference
from service.references.verification_inputs import TEXTS
from service.runtime.network import NetworkRuntime
from service.tasks.table import task_for
from service.types import Item, TextInstance
from tests.support.references.stand_in_hub import HostedRepository, stand_in_hub
from tests.support.references.tiny_adapters import base_network, text_adapter, writing_adapter
from tests.support.references.tiny_generation import gpt2, llama

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")  # peft calls what transformers has renamed
LABELS = ("bad", "fair", "good")
GIVEN = Given(labels=LABELS)


@pytest.fixture(autouse=True)
def library_in_this_process(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library's own process takes ten seconds to import it. One test keeps it."""
    if request.function is not test_adapter_on_a_hub_is_pinned_with_its_network:
        monkeypatch.setattr("service.references.pull.library_answers", lambda _, asked: answer(asked))


@pytest.fixture
def base(tmp_path: Path) -> Path:
    (tmp_path / "base").mkdir()
    return base_network(tmp_path / "base")


@pytest.fixture
def adapter(tmp_path: Path, base: Path) -> Path:
    return text_adapter(tmp_path / "adapter", base)


def pulled_from(folder: Path, home: Path, given: Given = GIVEN) -> Pulled:
    return pull_reference(parse_reference(f"local:{folder}"), home, given=given)


def logits_of(pulled: Pulled) -> np.ndarray:
    task = task_for(pulled.card, pulled.files)
    items = task.preprocess([TextInstance(text.encode()) for text in TEXTS], ["input"] * len(TEXTS))
    good = [item for item in items if isinstance(item, Item)]
    runtime = NetworkRuntime(load_network(pulled.card, pulled.files), "cpu")
    return np.stack([row["logits"] for row in task.split(runtime.run(task.collate(good)[0]), good)])


def by_peft(base: Path, adapter: Path) -> np.ndarray:
    import peft
    import torch
    import transformers

    network: Any = transformers.AutoModelForSequenceClassification.from_pretrained(base, num_labels=3)
    adapted = peft.PeftModel.from_pretrained(network, str(adapter)).eval()
    read: Any = transformers.AutoTokenizer.from_pretrained(base)
    with torch.inference_mode():
        rows = [adapted(**read(text, truncation=True, max_length=64, return_tensors="pt")).logits[0] for text in TEXTS]
    return np.stack([row.numpy() for row in rows])


def test_adapter_gives_the_answers_of_peft(base: Path, adapter: Path, tmp_path: Path) -> None:
    pulled = pulled_from(adapter, tmp_path / "home")
    np.testing.assert_allclose(logits_of(pulled), by_peft(base, adapter), atol=1e-4)
    card = pulled.card
    assert (card.task, card.class_names) == ("text-classification", LABELS)
    assert isinstance(card.source, AdaptedSource)
    assert (card.source.base.folder, card.source.adapter.folder) == (str(base), str(adapter))
    assert card.verification is not None
    assert card.licence.weights == "adapter: apache-2.0; network: apache-2.0"


def test_adapter_with_every_bias_and_a_head_gives_the_answers_of_peft(base: Path, tmp_path: Path) -> None:
    folder = text_adapter(tmp_path / "biases", base, bias="all")
    assert any(".modules_to_save.bias" in name for name in load_file(folder / "adapter_model.safetensors"))
    np.testing.assert_allclose(logits_of(pulled_from(folder, tmp_path / "home")), by_peft(base, folder), atol=1e-4)


def test_lost_weights_are_merged_again_from_the_pinned_files(adapter: Path, base: Path, tmp_path: Path) -> None:
    pulled = pulled_from(adapter, tmp_path / "home")
    store = Store(tmp_path / "home")
    store.remove(pulled.card)
    assert store.materialise(pulled.card).digest == pulled.files.digest
    store.remove(pulled.card)
    (adapter / "adapter_model.safetensors").write_bytes(b"something else")
    with pytest.raises(SourceUnavailable, match=r"adapter_model\.safetensors"):
        store.materialise(pulled.card)


def test_adapter_on_a_hub_is_pinned_with_its_network(
    adapter: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library answers in its own process, as at a user's."""
    hosted = text_adapter(tmp_path / "hosted", base, named="org/base")
    with stand_in_hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        hub.repositories["org/base"] = HostedRepository(base, commit="b" * 40)
        hub.repositories["org/adapter"] = HostedRepository(hosted, commit="a" * 40)
        home = tmp_path / "home"
        pulled = pull_reference(parse_reference("hf:org/adapter"), home, given=GIVEN)
        source = pulled.card.source
        assert isinstance(source, AdaptedSource)
        assert (source.base.repository, source.base.commit) == ("org/base", "b" * 40)
        assert (source.adapter.repository, source.adapter.commit) == ("org/adapter", "a" * 40)
        np.testing.assert_allclose(logits_of(pulled), by_peft(base, adapter), atol=1e-4)
        assert not list((home / "downloads").glob("[!.]*"))
        # An adapter of this machine for a network on the hub.
        monkeypatch.setattr("service.references.pull.library_answers", lambda _, asked: answer(asked))
        mixed = pull_reference(parse_reference(f"local:{hosted}"), home, name="mixed", given=GIVEN)
        assert mixed.files.digest == pulled.files.digest


def test_adapter_for_spans_of_tokens_is_pulled(base: Path, tmp_path: Path) -> None:
    """The comparison of a pull is with peft, the adapter not merged."""
    folder = text_adapter(tmp_path / "spans", base, task="TOKEN_CLS")
    card = pulled_from(folder, tmp_path / "home", Given(labels=("O", "B-PER", "I-PER"))).card
    assert (card.task, card.verification is not None) == ("token-classification", True)


@pytest.mark.parametrize(("make", "modules"), [(llama, ["q_proj", "v_proj"]), (gpt2, ["c_attn"])])
def test_adapter_of_a_network_that_writes_text_is_pulled(
    make: Callable[[Path], Path], modules: list[str], tmp_path: Path
) -> None:
    (tmp_path / "base").mkdir()
    base = make(tmp_path / "base")
    card = pulled_from(writing_adapter(tmp_path / "adapter", base, modules), tmp_path / "home", Given()).card
    assert (card.task, card.verification is not None) == ("text-generation", True)
    plain = pulled_from(base, tmp_path / "home", Given()).card
    assert [case.expect for case in plain.golden] != [case.expect for case in card.golden], (
        "the adapter changes the text"
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"peft_type": "PROMPT_TUNING"}, "an adapter of the kind 'PROMPT_TUNING'; Zoo merges those of LORA"),
        ({"auto_mapping": {"parent_library": "os"}}, "asks for a class by name"),
        ({"megatron_config": {"x": 1}}, "sets megatron_config, which Zoo does not have"),
        ({"use_qalora": True}, "sets use_qalora"),
        (
            {"init_lora_weights": "pissa_niter_4"},
            "changes the weights of its base first .init_lora_weights: 'pissa_niter_4'",
        ),
        ({"target_modules": "(.*)*(.*)*Z"}, "target_modules in its adapter_config.json is no list of names"),
        ({"exclude_modules": ["(a+)+$"]}, "exclude_modules in its adapter_config.json is no list"),
        ({"rank_pattern": {"(.*)*(.*)*Z": 3}}, "rank_pattern in its adapter_config.json is no list"),
        ({"layers_pattern": 3}, "layers_pattern in its adapter_config.json is no list"),
        ({"base_model_name_or_path": None}, "names no base"),
        ({"base_model_name_or_path": "../base"}, "is no repository of a hub"),
        ({"base_model_name_or_path": "/nowhere/at/all"}, "there is no such folder"),
        ({"task_type": "QUESTION_ANS"}, "for the task 'QUESTION_ANS' of peft"),
    ],
)
def test_adapter_that_cannot_be_merged_is_refused(
    changes: dict[str, Any], message: str, base: Path, tmp_path: Path
) -> None:
    folder = text_adapter(tmp_path / "other", base, changes=changes)
    with pytest.raises((NotDerivable, SourceUnavailable), match=message) as error:
        pulled_from(folder, tmp_path / "home")
    assert str(tmp_path) not in str(error.value)


def test_huge_adapter_is_refused_and_of_others_the_header_alone_is_read(base: Path, adapter: Path) -> None:
    class Sparing(LocalRepository):
        def read(self, path: str, most: int = MOST_CONFIG_BYTES) -> bytes:
            assert path != "adapter_model.safetensors"
            return super().read(path, most)

    found = AdaptedRepository(Sparing(adapter), LocalRepository(base))
    assert config_of(found, "config.json")["num_labels"] == 3
    with (adapter / "adapter_model.safetensors").open("ab") as file:
        file.truncate((512 << 20) + 1)  # sparse
    with pytest.raises(NotDerivable, match="has 536,870,913 bytes, more than 536,870,912"):
        base_of(LocalRepository(adapter))


def test_adapter_of_a_hub_cannot_name_a_folder_of_this_machine(
    base: Path, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with stand_in_hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        hub.repositories["org/adapter"] = HostedRepository(adapter)
        with pytest.raises(NotDerivable, match="is no repository of a hub"):
            pull_reference(parse_reference("hf:org/adapter"), tmp_path / "home", given=GIVEN)


@pytest.mark.parametrize("fault", ["missing", "unexpected", "shape", "no classes named", "of another size", "damaged"])
def test_tensors_that_do_not_fit_are_named(fault: str, base: Path, adapter: Path, tmp_path: Path) -> None:
    path = adapter / "adapter_model.safetensors"
    tensors = load_file(path)
    lora = next(name for name in sorted(tensors) if ".lora_A" in name)
    given, message = GIVEN, "lora_A"
    match fault:
        case "missing":
            del tensors[lora]
        case "unexpected":
            tensors[lora.replace("layer.0", "layer.7")] = tensors[lora].clone()
        case "shape":
            tensors[lora], message = tensors[lora][:, :5].clone(), "another shape"
        case "no classes named":
            given, message = Given(), "does not name its 3 classes; give --labels"
        case "of another size":
            given, message = Given(labels=("a", "b")), "has 3 classes, but 2 are named"
        case _:
            message = "is no safetensors file"
    if fault == "damaged":
        path.write_bytes(b"\xff" * 100)
    else:
        save_file(tensors, path)
    with pytest.raises((ConversionFailed, NotDerivable), match=message):
        pulled_from(adapter, tmp_path / "home", given)
    assert not list((tmp_path / "home").rglob("*.yaml"))
    assert not list((tmp_path / "home" / "weights").glob("*/model.safetensors"))
