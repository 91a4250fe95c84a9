"""The answer of a feature extraction is the vector of the network."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from service.errors import InvalidInput
from service.tasks.composed import SequenceTask
from service.tasks.embedding import EmbeddingAnswers
from service.tasks.text.token_input import TokenInput
from service.types import Embedding, Item, Options, TextInstance

pytestmark = pytest.mark.weights  # the tokenizer is downloaded with the weights


@pytest.fixture
def task(served: Callable[[str], Any]) -> SequenceTask:
    made = served("all_minilm_l6_v2").task
    assert isinstance(made, SequenceTask)
    assert isinstance(made.inputs, TokenInput)
    assert isinstance(made.answers, EmbeddingAnswers)
    return made


def prepare(task: SequenceTask, *texts: str | bytes) -> list[Any]:
    instances = [TextInstance(text.encode() if isinstance(text, str) else text) for text in texts]
    return task.preprocess(instances, [f"instances[{i}]" for i in range(len(texts))])


def test_answer_is_the_vector_unchanged(task: SequenceTask) -> None:
    row = np.arange(384, dtype=np.float32)
    answer = task.postprocess({"embedding": row}, Item({}), Options())
    assert isinstance(answer, Embedding)
    np.testing.assert_array_equal(answer.values, row)


@pytest.mark.parametrize("options", [Options(top_k=3), Options(threshold=0.5)])
def test_option_without_meaning_is_refused(task: SequenceTask, options: Options) -> None:
    with pytest.raises(InvalidInput, match="has no meaning for the task feature-extraction"):
        task.check(options)


def test_paraphrase_is_nearer_than_an_unrelated_sentence(task: SequenceTask, served: Callable[[str], Any]) -> None:
    runtime = served("all_minilm_l6_v2").runtime
    items = prepare(task, "A cat sleeps on the sofa.", "A kitten naps on the couch.", "Stocks fell sharply.")
    vectors = runtime.run(task.collate(items)[0])["embedding"]
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert vectors[0] @ vectors[1] > 0.5 > 0.2 > vectors[0] @ vectors[2]
