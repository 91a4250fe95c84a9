"""Networks that write text are pulled by reference and served, for prompts and for tensors, over both protocols."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from service.client import Client, GeneratedText
from service.references.verification_inputs import TEXTS
from tests.support.end_to_end.preloaded import run_preloaded
from tests.support.end_to_end.server_process import ServerProcess
from tests.support.end_to_end.stubs import Stubs, ask, expect_error, infer, outputs, stubs_of, tensors
from tests.support.references.tiny_generation import gpt2, t5

PROMPTS = ("The film was a delight.", "lamp", "Each evening the keeper climbed the stairs to light the lamp!")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("repositories")
    for name in ("tiny_writer", "tiny_rewriter"):
        (root / name).mkdir()
    return {"tiny_writer": gpt2(root / "tiny_writer"), "tiny_rewriter": t5(root / "tiny_rewriter")}


@pytest.fixture(scope="module")
def server(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    wanted = [word for folder in folders.values() for word in ("--model", f"local:{folder}")]
    with ServerProcess(*wanted, ZOO_HOME=str(tmp_path_factory.mktemp("home"))) as server:
        server.ready()
        yield server


@pytest.fixture(scope="module")
def pulled(server: ServerProcess) -> Iterator[Stubs]:
    with stubs_of(server.ready()) as stubs:
        yield stubs


@pytest.fixture(scope="module")
def expected(folders: dict[str, Path]) -> dict[str, str]:
    """By prompt: the 12 tokens that the library's pipeline adds."""
    pipeline: Any = transformers.pipeline
    pipe = pipeline("text-generation", model=str(folders["tiny_writer"]), device="cpu", dtype=torch.float32)
    asked = {"max_new_tokens": 12, "do_sample": False, "return_full_text": False}
    return {prompt: pipe(prompt, **asked)[0]["generated_text"] for prompt in PROMPTS}


def test_prompts_are_continued_as_the_pipeline_does(pulled: Stubs, expected: dict[str, str]) -> None:
    reply = pulled.predict(ask("tiny_writer", *({"text": prompt} for prompt in PROMPTS), max_new_tokens=12))
    found = [prediction.text for prediction in reply.predictions]
    assert [one.text for one in found] == [expected[prompt] for prompt in PROMPTS]
    assert all(one.finish_reason == ("length" if one.token_count == 12 else "stop") for one in found)


def test_callers_at_once_with_other_lengths_get_their_own_answers(pulled: Stubs) -> None:
    def write(call: tuple[str, int]) -> str:
        prompt, limit = call
        return str(pulled.predict(ask("tiny_writer", {"text": prompt}, max_new_tokens=limit)).predictions[0].text.text)

    calls = [(prompt, limit) for prompt in PROMPTS for limit in (1, 5, 20)]
    alone = [write(call) for call in calls]
    with ThreadPoolExecutor(16) as callers:
        assert list(callers.map(write, calls * 6)) == alone * 6


def test_raw_texts_over_open_inference_get_tokens_of_the_default_length(pulled: Stubs) -> None:
    found = outputs(pulled.infer(infer("tiny_writer", text=[prompt.encode() for prompt in PROMPTS])))
    reply = pulled.predict(ask("tiny_writer", *({"text": prompt} for prompt in PROMPTS), include_tensors=True))
    for i, prediction in enumerate(reply.predictions):
        one = prediction.outputs.tensors["output_ids"]
        ids = np.frombuffer(one.data, np.int64)
        assert found["output_ids"][i, : len(ids)].tolist() == ids.tolist()
        assert (found["probabilities"][i, : len(ids)] > 0).all()
        assert (found["probabilities"][i, len(ids) :] == 0).all()


def test_parameters_over_open_inference_are_options_of_the_answer(pulled: Stubs) -> None:
    def write(**parameters: float) -> Any:
        request = infer("tiny_writer", text=[prompt.encode() for prompt in PROMPTS])
        for name, value in parameters.items():
            setattr(request.parameters[name], "int64_param" if isinstance(value, int) else "double_param", value)
        return request

    found = outputs(pulled.infer(write(max_new_tokens=3, temperature=0.0, top_k=1, of_a_client=1)))
    assert found["output_ids"].shape[1] <= 3
    for wrong in ({"max_new_tokens": 0}, {"max_new_tokens": 2.5}, {"max_new_tokens": 100_000}, {"temperature": 0.5}):
        request = write(**wrong)
        error = expect_error(functools.partial(pulled.infer, request))
        assert (error.code, error.field) == ("INVALID_ARGUMENT", f"parameters[{next(iter(wrong))}]")


def test_tensors_are_accepted_with_a_limit_for_each_row(pulled: Stubs) -> None:
    ids = np.array([[20, 30, 40, 50], [0, 60, 70, 0]], np.int64)
    mask = np.array([[1, 1, 1, 1], [0, 1, 1, 0]], np.int64)
    limits = np.array([[3], [9]], np.int64)
    asked = {"input_ids": ids, "attention_mask": mask, "max_new_tokens": limits}
    together = outputs(pulled.infer(infer("tiny_writer", **asked)))["output_ids"]
    bare = {"input_ids": ids[1:, 1:3], "attention_mask": mask[1:, 1:3], "max_new_tokens": limits[1:]}
    alone = outputs(pulled.infer(infer("tiny_writer", **bare)))["output_ids"]
    assert together[1].tolist() == alone[0].tolist()
    assert (together[0, 3:] == 0).all()


def test_sdk_and_command_show_the_text(server: ServerProcess, pulled: Stubs) -> None:
    with Client(server.target) as client:
        (found,) = client.predict("tiny_rewriter", PROMPTS[0], max_new_tokens=6)
    assert isinstance(found, GeneratedText)
    shown = run_preloaded(
        "predict", "tiny_rewriter", PROMPTS[0], "--max-new-tokens", "6", "--json", "--server", server.target
    )
    assert shown.returncode == 0, shown.stderr
    line = json.loads(shown.stdout)
    assert (line["text"], line["finish_reason"]) == (found.text, found.finish_reason)


@pytest.mark.parametrize("model", ["tiny_writer", "tiny_rewriter"])
@pytest.mark.parametrize(
    ("instance", "says"),
    [
        ({"text": ""}, "is empty"),
        ({"image": b"\xff\xd8"}, "expected text or tensors"),
        ({"audio": b"RIFF"}, "expected text or tensors"),
        (tensors(input_ids=np.array([5], np.int64)), "is missing"),
        (
            tensors(
                input_ids=np.array([5], np.int64),
                attention_mask=np.array([1], np.int64),
                max_new_tokens=np.array([100_000], np.int64),
            ),
            "got 100,000",
        ),
    ],
)
def test_wrong_input_is_refused_by_its_place(pulled: Stubs, model: str, instance: dict[str, Any], says: str) -> None:
    error = expect_error(lambda: pulled.predict(ask(model, instance)))
    assert error.code == "INVALID_ARGUMENT"
    assert error.field.startswith("instances[0]")
    assert says in error.message


def test_huge_text_is_truncated_with_a_note(pulled: Stubs) -> None:
    reply = pulled.predict(ask("tiny_writer", {"text": "lamp " * 200_000}, max_new_tokens=2))
    assert reply.predictions[0].text.token_count in (1, 2)
    assert reply.predictions[0].notes["truncated"] is True


def test_bytes_that_are_no_text_are_refused(pulled: Stubs) -> None:
    error = expect_error(lambda: pulled.infer(infer("tiny_writer", text=[b"\xff\xfe"])))
    assert (error.code, "expected UTF-8" in error.message) == ("INVALID_ARGUMENT", True)


def test_bad_prompt_fails_alone(pulled: Stubs, expected: dict[str, str]) -> None:
    instances = ({"text": PROMPTS[0]}, {"text": ""}, {"text": PROMPTS[2]})
    first, bad, last = pulled.predict(ask("tiny_writer", *instances, max_new_tokens=12)).predictions
    assert (first.text.text, last.text.text) == (expected[PROMPTS[0]], expected[PROMPTS[2]])
    assert bad.WhichOneof("result") == "error"


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"max_new_tokens": 10_000}, "options.max_new_tokens"),
        ({"max_new_tokens": 49}, "options.max_new_tokens"),
        ({"temperature": 0.5}, "options.temperature"),
        ({"seed": 1}, "options.seed"),
    ],
)
def test_option_that_the_network_has_not_is_refused(pulled: Stubs, options: dict[str, Any], field: str) -> None:
    error = expect_error(lambda: pulled.predict(ask("tiny_writer", {"text": TEXTS[0]}, **options)))
    assert (error.code, error.field) == ("INVALID_ARGUMENT", field)
