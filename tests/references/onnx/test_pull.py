"""A pulled ONNX file is tried out in a process of its own, compared and pinned; a refused one leaves nothing behind."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch
from onnx import TensorProto, helper
from safetensors import SafetensorError

from model_zoo.catalog import Catalog
from model_zoo.errors import NotDerivable, NotEqual, SourceUnavailable, StoreUnusable
from model_zoo.golden.golden_case import golden_path
from model_zoo.references.card_plan import Given
from model_zoo.references.reference import parse_reference
from model_zoo.store import Store
from service.errors import NotReady
from service.references.footprint import Room
from service.references.onnx import agreement, file_process
from service.references.onnx.trial import largest_difference
from service.references.pull import Pulled, pull_reference
from service.registry.loading.loader import Loader
from service.types import Array, Classification, ImageInstance, Item, Options, TensorInstance, Tensors
from tests.support.references.onnx_files import (
    ROWS,
    centred_file,
    cnn,
    cnn_file,
    export,
    floats,
    graph,
    mlp,
    mlp_file,
    product,
    saved,
    sequence_file,
    single_row_file,
    steps_file,
    token_file,
    unmasked_file,
    weights,
)
from tests.support.references.onnx_models import reply
from tests.support.references.stand_in_hub import HostedRepository, stand_in_hub


@pytest.fixture(autouse=True)
def worker_here(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Files are read in this process: starting another one takes seconds. Marked tests have the real one."""
    if "process" not in request.node.name:
        monkeypatch.setattr(file_process, "reply_of", reply)


LENGTH = Given(settings={"max_length": "16"})


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def pulled(path: Path, home: Path, given: Given = Given(), name: str = "tiny") -> Pulled:  # noqa: B008 - frozen
    return pull_reference(parse_reference(f"onnx:{path}"), home, name=name, given=given)


def loader(home: Path) -> Loader:
    return Loader(Store(home), "cpu", True, lambda _: lambda done, total, what: None)


def leftovers(home: Path) -> list[str]:
    """Files below a home, without locks."""
    found = (path for path in home.rglob("*") if path.is_file() and not path.name.endswith(".lock"))
    return sorted(path.relative_to(home).as_posix() for path in found)


# ── taken ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("make", "given", "family", "rows", "reason"),
    [
        (cnn_file, Given(), "cnn", 32, ""),
        (mlp_file, Given(settings={"max_batch_size": "4"}), "mlp", 4, ""),
        (single_row_file, Given(), "mlp", 1, "the file fixes the first axis of 'x' at 1"),
        (token_file, LENGTH, "mlp", 32, ""),
        (sequence_file, LENGTH, "mlp", 32, ""),
        (unmasked_file, LENGTH, "mlp", 1, "from the one alone"),
        (steps_file, LENGTH, "mlp", 1, "the size of the axis 'steps' may differ from row to row"),
        (centred_file, Given(), "mlp", 1, "from the one alone"),
    ],
)
def test_network_exported_by_torch_is_taken_and_loads(
    make: Callable[[Path], Path], given: Given, family: str, rows: int, reason: str, tmp_path: Path, home: Path
) -> None:
    card = pulled(make(tmp_path / "network.onnx"), home, given).card
    assert (card.family, card.task, card.raw_input) == (family, "other", "")
    assert card.batching.max_batch_size == rows
    assert reason in card.batching.single_rows_because
    assert bool(reason) == bool(card.batching.single_rows_because)
    assert card.verification is not None
    assert card.verification.max_difference <= card.verification.bound
    assert Catalog.of_home(home).get("tiny") == card, "what is stored is what was pulled"
    loaded = loader(home).load(card)
    assert loaded.runtime.compiler == "onnxruntime"
    assert len(card.golden) == 3


def test_file_is_stored_as_it_is_and_pulled_once(tmp_path: Path, home: Path) -> None:
    path = mlp_file(tmp_path / "network.onnx")
    first = pulled(path, home)
    assert first.files.weights.read_bytes() == path.read_bytes()
    assert first.card.source.files["weights"].sha256 == first.files.digest
    again = pulled(path, home)
    assert (again.already, again.card) == (True, first.card)
    path.unlink()
    assert loader(home).load(first.card).runtime.memory_bytes > 0, "the model has its own copy"


def test_padded_rows_equal_single_rows(tmp_path: Path, home: Path) -> None:
    card = pulled(sequence_file(tmp_path / "network.onnx"), home, LENGTH).card
    assert (card.batching.length_of, card.batching.max_length) == ("attention_mask", 16)
    loaded = loader(home).load(card)
    random = np.random.default_rng(1)
    items = []
    for length in (1, 16, 3, 7):
        row = {"input_ids": random.integers(0, 50, length), "attention_mask": np.ones(length, np.int64)}
        items.append(loaded.task.row(TensorInstance(row), "instances[0]"))
    together = loaded.task.split(loaded.runtime.run(loaded.task.collate(items)[0]), items)
    for item, row in zip(items, together, strict=True):
        (alone,) = loaded.task.split(loaded.runtime.run(loaded.task.collate([item])[0]), [item])
        assert row["logits"].shape == (item.length, 3)
        np.testing.assert_allclose(row["logits"], alone["logits"], atol=1e-6)


def test_file_of_a_hub_is_pinned_to_its_commit(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "repository" / "onnx"
    folder.mkdir(parents=True)
    options = {"save_as_external_data": True, "location": "model.onnx_data", "size_threshold": 0}
    saved(product(), folder / "model.onnx", **options)
    with stand_in_hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        hub.repositories["org/Tiny"] = hosted = HostedRepository(folder.parent, card={"license": "mit"})
        reference = parse_reference("onnx:hf:org/Tiny")
        found = pull_reference(reference, home)
        assert (found.card.name, found.card.licence.weights, found.card.reference) == ("tiny", "mit", str(reference))
        assert found.card.source.kind == "hub"
        assert found.card.source.commit == hosted.commit
        assert sorted(file.path for file in found.card.source.files.values()) == [
            "onnx/model.onnx",
            "onnx/model.onnx_data",
        ]
        assert not list((home / "downloads").glob("[!.]*")), "what was fetched is removed once it is kept"
        assert pull_reference(reference, home).already
        # The files are fetched again, at the commit of the card, where they were lost.
        Store(home).remove(found.card)
        assert pull_reference(reference, home).files.digest == found.files.digest
        saved(product(), folder / "other.onnx")
        with pytest.raises(
            NotDerivable, match=r"onnx/model.onnx, onnx/other.onnx; give one of them by --set file=PATH"
        ):
            pull_reference(reference, home, name="second")
        named = Given(settings={"file": "onnx/other.onnx"})
        assert pull_reference(reference, home, name="second", given=named).card.source.files["weights"].bytes > 0
        hub.repositories["org/Empty"] = HostedRepository(tmp_path / "repository" / "none")
        with pytest.raises(NotDerivable, match=r"no file that ends in .onnx"):
            pull_reference(parse_reference("onnx:hf:org/Empty"), home)
        with pytest.raises(SourceUnavailable, match="ZOO_OFFLINE"):
            pull_reference(parse_reference("onnx:hf:org/Other"), home, offline=True)


STATED = {
    "size": "16",
    "resize_shorter": "18",
    "interpolation": "bilinear",
    "mean": "0.5,0.5,0.5",
    "std": "0.25, 0.25, 0.25",
}
PHOTOS = Given(task="image-classification", labels=("a", "b", "c", "d", "e"), settings=STATED)


def test_classifier_of_images_takes_photos_and_names_classes(tmp_path: Path, home: Path) -> None:
    found = pulled(cnn_file(tmp_path / "network.onnx"), home, PHOTOS)
    assert (found.card.task, found.card.raw_input, found.card.class_names) == (PHOTOS.task, "image", PHOTOS.labels)
    assert Catalog.of_home(home).get("tiny") == found.card
    loaded = loader(home).load(found.card)
    photo = golden_path("cat.jpg").read_bytes()
    (item,) = loaded.task.preprocess([ImageInstance(photo)], ["instances[0]"])
    assert isinstance(item, Item)
    (row,) = loaded.task.split(loaded.runtime.run(loaded.task.collate([item])[0]), [item])
    with torch.inference_mode():
        expected = cnn()(torch.from_numpy(np.array(item.tensors["image"]))[None])[0]
    np.testing.assert_allclose(row["logits"], expected, atol=1e-4)
    answer = loaded.task.postprocess(row, item, Options())
    assert isinstance(answer, Classification)
    assert answer.labels[0].name == PHOTOS.labels[int(expected.argmax())]


@pytest.mark.parametrize(
    ("make", "labels", "changes", "words"),
    [
        (cnn_file, 5, {"mean": None, "std": None}, "not stated (mean, std); give all of it"),
        (cnn_file, 5, {"size": "17"}, "do not fit --set size=17"),
        (cnn_file, 5, {"resize_shorter": "12"}, "less than the size 16"),
        (cnn_file, 5, {"interpolation": "lanczos"}, "expected bilinear or bicubic"),
        (cnn_file, 5, {"mean": "0.5"}, "expected three numbers"),
        (cnn_file, 5, {"std": "1,1,nan"}, "expected three numbers"),
        (cnn_file, 5, {"std": "1,1,0"}, "std must be positive"),
        (cnn_file, 5, {"size": "99999"}, "expected pixels"),
        (cnn_file, 5, {"max_length": "0"}, "a whole number from 1"),
        (cnn_file, 4, {}, "the axes [-1, 5], but 4 classes are named"),
        (cnn_file, 0, {}, "does not name its classes"),
        (mlp_file, 3, {}, "it takes x FP32 [rows, 4]"),
    ],
)
def test_classifier_of_images_without_all_facts_is_refused(
    make: Callable[[Path], Path],
    labels: int,
    changes: dict[str, str | None],
    words: str,
    tmp_path: Path,
    home: Path,
) -> None:
    settings = {key: text for key, text in {**STATED, **changes}.items() if text is not None}
    given = Given(task=PHOTOS.task, labels=PHOTOS.labels[:labels], settings=settings)
    with pytest.raises(NotDerivable, match=re.escape(words)):
        pulled(make(tmp_path / "network.onnx"), home, given)
    assert leftovers(home) == []


def test_classifier_that_ends_in_probabilities_is_refused(tmp_path: Path, home: Path) -> None:
    network = torch.nn.Sequential(cnn(), torch.nn.Softmax(dim=-1))
    path = export(network, tmp_path / "network.onnx", {"image": torch.zeros(2, 3, 16, 16)}, image=ROWS, logits=ROWS)
    with pytest.raises(NotDerivable, match="without its last softmax"):
        pulled(path, home, PHOTOS)


def test_weights_in_a_file_beside_the_graph_are_taken_along(tmp_path: Path, home: Path) -> None:
    path = saved(product(), tmp_path / "network.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    found = pulled(path, home)
    assert sorted(file.name for file in found.files.folder.iterdir()) == ["manifest.json", "model.onnx", "w.bin"]
    shutil.rmtree(path.parent / "none", ignore_errors=True)
    x = np.ones((2, 4), np.float32)
    outputs = loader(home).load(found.card).runtime.run({"x": x})
    whole = pulled(saved(product(), tmp_path / "whole.onnx"), home, name="whole")
    np.testing.assert_array_equal(outputs["y"], loader(home).load(whole.card).runtime.run({"x": x})["y"])


def test_half_precision_and_whole_numbers_keep_their_types(tmp_path: Path, home: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["product"]),
        helper.make_node("Cast", ["product"], ["half"], to=TensorProto.FLOAT16),
        helper.make_node("ArgMax", ["product"], ["best"], axis=1, keepdims=0),
    ]
    outputs = [
        helper.make_tensor_value_info("half", TensorProto.FLOAT16, ["n", 3]),
        helper.make_tensor_value_info("best", TensorProto.INT64, ["n"]),
    ]
    card = pulled(saved(graph(nodes, outputs=outputs), tmp_path / "network.onnx"), home).card
    assert [(spec.name, spec.datatype, spec.shape) for spec in card.signature.outputs] == [
        ("half", "FP16", (-1, 3)),
        ("best", "INT64", (-1,)),
    ]
    found = loader(home).load(card).runtime.run({"x": np.ones((2, 4), np.float32)})
    assert [array.dtype for array in found.values()] == [np.float16, np.int64]


# ── refused ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _written(model: Any) -> Callable[[Path], Path]:
    return lambda path: saved(model, path)


def _node(operator: str, inputs: list[str], **attributes: Any) -> Any:
    return helper.make_node(operator, inputs, ["y"], **attributes)


def _with_subgraph(operator: str, attribute: str, inputs: list[str], body: Any) -> Any:
    return graph(
        [_node(operator, inputs, **{attribute: body})],
        initializers=[weights("w", 4, 3), helper.make_tensor("always", TensorProto.BOOL, [], [True])],
    )


def endless_loop() -> Any:
    """A loop whose condition stays true."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["still"]),
            helper.make_node("Identity", ["state"], ["next"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            floats("state", "n", 4),
        ],
        [helper.make_tensor_value_info("still", TensorProto.BOOL, []), floats("next", "n", 4)],
    )
    return _with_subgraph("Loop", "body", ["", "always", "x"], body)


def _of_opset(version: int) -> Any:
    model = product()
    model.opset_import[0].version = version
    return model


def _with_function() -> Any:
    function = helper.make_function(
        "own", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 20)]
    )
    model = graph([helper.make_node("MatMul", ["x", "w"], ["z"]), _node("Twice", ["z"], domain="own")])
    model.functions.append(function)
    model.opset_import.append(helper.make_opsetid("own", 1))
    return model


def _custom() -> Any:
    model = graph([_node("FusedThing", ["x", "w"], domain="com.example")])
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    return model


def _short_tensor() -> Any:
    model = product()
    model.graph.initializer[0].raw_data = model.graph.initializer[0].raw_data[:-4]
    return model


def _texts() -> Any:
    return graph(
        [_node("Cast", ["text"], to=TensorProto.FLOAT), helper.make_node("MatMul", ["x", "w"], ["z"])],
        inputs=[helper.make_tensor_value_info("text", TensorProto.STRING, ["n", 1]), floats("x", "n", 4)],
        outputs=[floats("y", "n", 1)],
    )


def _sequence() -> Any:
    kind = helper.make_tensor_sequence_value_info("x", TensorProto.FLOAT, ["n", 4])
    return graph([_node("ConcatFromSequence", ["x"], axis=0)], inputs=[kind])


def _sized_by_values() -> Any:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["z"]), _node("Expand", ["z", "size"])]
    return graph(nodes, inputs=[floats("x", "n", 4), helper.make_tensor_value_info("size", TensorProto.INT64, [2])])


def _of_axes(*axes: int | str) -> Any:
    rest = ["m", *axes[1:-1], 3] if axes else []
    return graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], inputs=[floats("x", *axes)], outputs=[floats("y", *rest)]
    )


def _external(location: str) -> Callable[[Path], Path]:
    def make(path: Path) -> Path:
        model = product()
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)
        (path.parent / "short.bin").write_bytes(bytes(8))
        (path.parent.parent / "secret.bin").write_bytes(bytes(48))
        if not (path.parent / "link.bin").exists():
            (path.parent / "link.bin").symlink_to(path.parent.parent / "secret.bin")
        path.write_bytes(model.SerializeToString())
        return path

    return make


def _truncated(path: Path) -> Path:
    whole = cnn_file(path).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    return path


def _bytes(content: bytes) -> Callable[[Path], Path]:
    def make(path: Path) -> Path:
        path.write_bytes(content)
        return path

    return make


def _not_finite() -> Any:
    return graph([helper.make_node("MatMul", ["x", "w"], ["z"]), _node("Log", ["z"])])


REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "random bytes": (_bytes(np.random.default_rng(0).bytes(5000)), "no ONNX file, or it is damaged"),
    "a text": (_bytes(b"hello\n" * 100), "no ONNX file, or it is damaged"),
    "an empty file": (_bytes(b""), "the file is empty"),
    "a truncated file": (_truncated, "damaged"),
    "an endless loop": (_written(endless_loop()), "the operator Loop, which might never end"),
    "a custom operator": (_written(_custom()), "the custom operator FusedThing of com.example"),
    "a function": (_written(_with_function()), "functions of its own"),
    "operators of the future": (_written(_of_opset(999)), "opset 999; the newest"),
    "an unknown operator": (_written(graph([_node("Nonesuch", ["x", "w"])])), "not valid by the rules of ONNX"),
    "weights with too few bytes": (_written(_short_tensor()), "'w' have 44 bytes; their shape needs 48"),
    "texts": (_written(_texts()), "elements of the type STRING"),
    "a sequence": (_written(_sequence()), "is no tensor (sequence)"),
    "sizes from values": (_written(_sized_by_values()), "decide the size of a tensor (in Expand)"),
    "weights elsewhere": (_external("../secret.bin"), "which is no file in the same folder"),
    "weights at an absolute path": (_external("/etc/passwd"), "which is no file in the same folder"),
    "weights behind a link": (_external("link.bin"), "is a link to another folder"),
    "weights that are missing": (_external("none.bin"), "is not in the folder"),
    "weights in a short file": (_external("short.bin"), "have 8 bytes in short.bin; their shape needs 48"),
    "weights in Zoo's own file": (_external("manifest.json"), "which is no file in the same folder"),
    "no rows": (_written(_of_axes(8, 4)), "is fixed at 8; it must count rows"),
    "no greatest size": (_written(_of_axes("m", "steps", 4)), "give its greatest size by --set max_length=N"),
    "rows that are steps": (_written(_of_axes("m", "m", 4)), "counts rows and is a further axis"),
    "numbers that are not finite": (_written(_not_finite()), "is not finite"),
    "no weights": (
        _written(graph([_node("Relu", ["x"])], outputs=[floats("y", "n", 4)], initializers=[weights("unused")])),
        "no weights",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_is_named_and_leaves_nothing(case: str, tmp_path: Path, home: Path) -> None:
    folder = tmp_path / "deep" / "files"
    folder.mkdir(parents=True)
    make, words = REFUSED[case]
    path = make(folder / "network.onnx")
    given = LENGTH if case == "rows that are steps" else Given()
    with pytest.raises(NotDerivable) as refused:
        pulled(path, home, given)
    assert words in str(refused.value)
    assert str(tmp_path) not in str(refused.value)
    assert leftovers(home) == []


@pytest.mark.parametrize("case", ["random bytes", "a truncated file", "an endless loop", "weights behind a link"])
def test_process_that_reads_a_file_says_what_it_refuses(case: str, tmp_path: Path, home: Path) -> None:
    make, words = REFUSED[case]
    with pytest.raises(NotDerivable, match=re.escape(words)):
        pulled(make(tmp_path / "network.onnx"), home)
    assert leftovers(home) == []


def test_process_that_tries_a_network_out_gives_its_outputs(tmp_path: Path, home: Path) -> None:
    card = pulled(cnn_file(tmp_path / "network.onnx"), home).card
    assert card.verification is not None
    assert loader(home).load(card).reference is not None


def test_reference_without_a_file_is_refused(tmp_path: Path, home: Path) -> None:
    for path, words in ((tmp_path / "none.onnx", "there is no such file"), (tmp_path, "it is a folder")):
        with pytest.raises(SourceUnavailable, match=words):
            pulled(path, home)
    assert leftovers(home) == []


def test_file_over_the_limit_of_the_format_is_refused_before_it_is_read(tmp_path: Path, home: Path) -> None:
    with (tmp_path / "large.onnx").open("wb") as file:
        file.truncate(3 << 30)
    with pytest.raises(NotDerivable, match="3,221,225,472 bytes"):
        pulled(tmp_path / "large.onnx", home)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (Given(task="text-classification"), "nothing says how the input of text-classification"),
        (Given(labels=("cat",)), "has no labels"),
        (Given(settings={"max_tokens": "3"}), "max_tokens has no meaning"),
        (Given(settings={"file": "other.onnx"}), "file has no meaning"),
        (Given(settings={"max_batch_size": "0"}), "a whole number from 1"),
    ],
)
def test_option_without_a_meaning_is_refused(given: Given, words: str, tmp_path: Path, home: Path) -> None:
    with pytest.raises(NotDerivable, match=words):
        pulled(mlp_file(tmp_path / "network.onnx"), home, given)
    assert leftovers(home) == []


def test_network_that_takes_too_much_memory_ends_with_its_process(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = helper.make_tensor("size", TensorProto.INT64, [2], [60_000, 60_000])
    nodes = [
        helper.make_node("ConstantOfShape", ["size"], ["large"]),
        helper.make_node("ReduceSum", ["large"], ["sum"], keepdims=0),
        helper.make_node("MatMul", ["x", "w"], ["z"]),
        _node("Add", ["z", "sum"]),
    ]
    path = saved(graph(nodes, initializers=[weights("w", 4, 3), size]), tmp_path / "network.onnx")
    with pytest.raises(NotDerivable, match=r"memory|cannot run it|cannot load it"):
        pulled(path, home)
    assert leftovers(home) == []


def test_full_disk_of_temporary_files_is_not_blamed_on_the_network(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(safetensors.numpy, "save_file", full)
    with pytest.raises(StoreUnusable, match="temporary files cannot be used: no space left on device"):
        pulled(mlp_file(tmp_path / "network.onnx"), home)
    assert leftovers(home) == []


def test_network_that_takes_too_long_ends_with_its_process(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_process, "TRIAL_S", 4)
    size = helper.make_tensor("size", TensorProto.INT64, [2], [3000, 3000])
    nodes = [helper.make_node("ConstantOfShape", ["size"], ["m0"])]
    nodes += [helper.make_node("MatMul", [f"m{i}", f"m{i}"], [f"m{i + 1}"]) for i in range(200)]
    nodes += [
        helper.make_node("ReduceSum", ["m200"], ["sum"], keepdims=0),
        helper.make_node("MatMul", ["x", "w"], ["z"]),
        _node("Add", ["z", "sum"]),
    ]
    path = saved(graph(nodes, initializers=[weights("w", 4, 3), size]), tmp_path / "network.onnx")
    with pytest.raises(NotDerivable, match="it needs more than 4 s"):
        pulled(path, home)
    assert leftovers(home) == []


def test_network_whose_served_answers_differ_is_refused(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def doubled(ours: Tensors, theirs: Tensors) -> float:
        off: dict[str, Array] = {name: array * 2 for name, array in ours.items()}  # type: ignore[operator]
        return largest_difference(off, theirs)

    monkeypatch.setattr(agreement, "largest_difference", doubled)
    with pytest.raises(NotEqual, match="allowed is"):
        pulled(mlp_file(tmp_path / "network.onnx"), home)
    assert leftovers(home) == []


# ── at load ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_changed_file_is_fetched_again_or_refused(tmp_path: Path, home: Path) -> None:
    path = mlp_file(tmp_path / "network.onnx")
    made = pulled(path, home)
    good = path.read_bytes()
    made.files.weights.write_bytes(bytes(len(good)))
    online = Loader(Store(home), "cpu", False, lambda _: lambda done, total, what: None)
    assert online.load(made.card).runtime.memory_bytes > 0
    assert made.files.weights.read_bytes() == good
    made.files.weights.write_bytes(bytes(len(good)))
    path.unlink()
    with pytest.raises(NotReady):
        online.load(made.card)
    assert not made.files.weights.exists(), "a wrong file is never run"


def test_other_precision_is_refused_by_name(tmp_path: Path, home: Path) -> None:
    card = pulled(mlp_file(tmp_path / "network.onnx"), home).card
    with pytest.raises(NotReady, match="it cannot run in bf16: an ONNX network"):
        loader(home).load(card, "bf16")


def test_golden_cases_notice_other_weights(tmp_path: Path, home: Path) -> None:
    card = pulled(mlp_file(tmp_path / "network.onnx"), home).card
    other = mlp()
    with_noise = {name: value * 1.1 for name, value in other.state_dict().items()}
    other.load_state_dict(with_noise)
    path = export(other, tmp_path / "other.onnx", {"x": torch.zeros(2, 4)}, x=ROWS, logits=ROWS)
    forged = pulled(path, home, name="forged").card.model_copy(update={"golden": card.golden})
    with pytest.raises(NotReady, match="the golden check failed: case 1 of 3: the output 'logits' is off by"):
        loader(home).load(forged)


@pytest.mark.parametrize(
    ("room", "message"),
    [
        (Room(memory=500), r"GB of memory while it is pulled, and there are 5e-07 GB"),
        (Room(budget=500), r"GB of memory, and ZOO_MEMORY_BUDGET_MIB allows 5e-07 GB"),
    ],
)
def test_file_that_memory_has_no_room_for_is_refused_with_the_figures(room: Room, message: str, tmp_path: Path) -> None:
    path = cnn_file(tmp_path / "tiny.onnx")
    with pytest.raises(NotDerivable, match=message):
        pull_reference(parse_reference(f"onnx:{path}"), tmp_path / "home", room=room)
    assert not list((tmp_path / "home").rglob("*.yaml"))
