"""Networks that were pulled by reference are bases like those of the zoo."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from model_zoo.references.reference import parse_reference
from service.references.library_answers import answer
from service.references.pull import pull_reference
from service.training.job_spec import Method
from service.training.methods.full import train_network
from service.training.methods.head import train_head
from service.training.protocol import Finished
from tests.support.model_zoo.web_files import web_files
from tests.support.references.tiny_repositories import (
    image_classifier,
    sentence_encoder,
    text_classifier,
    timm_repository,
)
from tests.support.references.tiny_texts import (
    multi_label_classifier,
    pair_classifier,
    reranker,
    token_classifier,
)
from tests.support.references.tiny_vision import vit_encoder
from tests.support.references.torchvision_files import WEIGHTS, network, saved
from tests.support.references.torchvision_files import publish as publish_weights
from tests.support.training.data_sets import add_dataset, photos_zip, stamps, texts_csv
from tests.support.training.method_runs import Train, method_order, publish, run_method

MAKERS: dict[str, Callable[[Path], Path]] = {
    "tiny_text": text_classifier,
    "tiny_sentence": sentence_encoder,
    "tiny_pairs": pair_classifier,
    "tiny_spans": token_classifier,
    "tiny_ranking": reranker,
    "tiny_several": multi_label_classifier,
    "tiny_vit": image_classifier,
    "tiny_timm": timm_repository,
    "tiny_encoder": vit_encoder,
}
TEXTS = [
    (f"{words} {i}", label)
    for i in range(16)
    for words, label in (("the film was a delight", "film"), ("keeper climbed the stairs each evening", "keeper"))
]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home that has nothing but pulled networks."""
    root = tmp_path_factory.mktemp("pulled")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("service.references.pull.library_answers", lambda _, asked: answer(asked))
        for name, make in MAKERS.items():
            (root / name).mkdir()
            pull_reference(parse_reference(f"local:{make(root / name)}"), root / "home")
        with web_files() as web:
            publish_weights(saved(network("shufflenet_v2_x0_5").state_dict()), web, patch)
            pull_reference(parse_reference(f"torchvision:{WEIGHTS}"), root / "home", name="torchvision")
    return root / "home"


def tuned(home: Path, folder: Path, base: str, dataset: str, task: str, method: Method) -> None:
    train: Train = train_head if method is Method.HEAD else train_network
    settings = {"epochs": 4} if method is Method.HEAD else {"epochs": 2, "batch_size": 8}
    given = method_order(home, base, dataset, task, method, **settings)
    assert isinstance(run_method(train, given, folder)[-1], Finished)
    card = publish(home, folder).card
    assert (card.reference, card.verification, card.class_names) == ("", None, ()), "those are facts of the base"
    assert card.activation == "softmax", "classes of a data set exclude each other"


@pytest.mark.parametrize("base", ["tiny_text", "tiny_sentence"])
@pytest.mark.parametrize("method", [Method.HEAD, Method.LORA, Method.FULL])
def test_text_network_is_tuned_by_every_method(base: str, method: Method, home: Path, tmp_path: Path) -> None:
    data = texts_csv([(f"{text} {base} {method.value}", label) for text, label in TEXTS])
    tuned(home, tmp_path / "job", base, add_dataset(home, data, "texts.csv"), "text-classification", method)


@pytest.mark.component
@pytest.mark.parametrize(
    ("base", "method"),
    [
        ("tiny_pairs", Method.HEAD),
        ("tiny_pairs", Method.LORA),
        ("tiny_pairs", Method.FULL),
        ("tiny_spans", Method.HEAD),
        ("tiny_ranking", Method.HEAD),
        ("tiny_several", Method.HEAD),
    ],
)
def test_texts_are_learned_by_networks_of_other_tasks(base: str, method: Method, home: Path, tmp_path: Path) -> None:
    data = texts_csv([(f"{text} {base} {method.value}", label) for text, label in TEXTS])
    tuned(home, tmp_path / "job", base, add_dataset(home, data, "texts.csv"), "text-classification", method)


@pytest.mark.component
@pytest.mark.parametrize(
    ("base", "method"),
    [
        ("tiny_vit", Method.HEAD),
        ("tiny_vit", Method.LORA),
        ("tiny_vit", Method.FULL),
        ("tiny_timm", Method.HEAD),
        ("tiny_timm", Method.FULL),
        ("torchvision", Method.HEAD),
        ("torchvision", Method.FULL),
        ("tiny_encoder", Method.HEAD),
        ("tiny_encoder", Method.LORA),
        ("tiny_encoder", Method.FULL),
    ],
)
def test_image_network_is_tuned_by_the_methods_of_its_kind(
    base: str, method: Method, home: Path, tmp_path: Path
) -> None:
    photos = stamps(("birds", "coins"), most=12)
    most = {
        "birds": 4 + list(Method).index(method),
        "coins": 4 + [*MAKERS, "torchvision"].index(base),
    }  # another data set for each job
    data = photos_zip({label: paths[: most[label]] for label, paths in photos.items()})
    tuned(home, tmp_path / "job", base, add_dataset(home, data, "photos.zip"), "image-classification", method)
