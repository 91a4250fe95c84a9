"""The answers of the makers' library: `python -m service.references.library_answers`, started by `library_process.py` alone. A
pull forks the process instead where it can (`library/forked_library.py`).

A line of JSON comes on standard input (`LibraryRequest`), and one goes out on standard output: `{"answers": [[…], …]}`, or
`{"reason": "one sentence"}`. An answer is what the comparison of the task reads (`comparison/`), such as the probabilities of all
classes, or an embedding. The library does all of it in its
own way, from the raw input on. It fetches nothing and runs no code of the repository.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from model_zoo import strict_json
from model_zoo.golden.golden_case import GoldenInput, golden_path
from service.observability.standard_streams import protect
from service.processes import end_with_parent
from service.references import transformers_pipelines
from service.references.comparison.pictures import decoded_pictures, sampled
from service.references.library.sounds import EMBEDDING, sound_embeddings
from service.references.library.torchvision_classes import torchvision_classes
from service.references.library.writing import SPEECH, transcribed, written
from service.references.library_request import LibraryRequest
from service.tasks.audio.audio_input import decode_audio
from service.tasks.instances import golden_recording
from service.types import AudioInstance, SamplesInstance

NOISE_RATE, LONGEST_S = 16_000, 600.0
"""Of noise, in hertz; of a recording, in seconds."""

OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
"""Environment of the process: the libraries would otherwise look for newer files at a hub."""


def library_version(library: str) -> str:
    """Name and version of an installed library. Raises PackageNotFoundError."""
    return f"{library} {version(library)}"


def answer(request: LibraryRequest) -> list[Any]:
    """An answer to each input, of the kind that the comparison of the task reads; then the pictures, if they are asked for."""
    match request.library:
        case "timm":
            return _timm(request)
        case "torchvision":
            return torchvision_classes(request, _raw(request.inputs))
        case "sentence-transformers" if request.task == "text-ranking":
            return _cross_encoder(request)
        case "sentence-transformers":
            return _sentence_transformers(request)
    if request.generation is not None and request.task == SPEECH:
        return transcribed(request, _raw(request.inputs))
    if request.generation is not None:
        return written(request, _raw(request.inputs))
    if request.task == EMBEDDING and not request.part:  # parts are those of networks for images and texts
        return sound_embeddings(request, _raw(request.inputs))
    return transformers_pipelines.answers(request, _raw(request.inputs))


def _timm(request: LibraryRequest) -> list[Any]:
    """By its own transform and network, both from the folder."""
    import timm
    import torch

    data: Any = timm.data  # untyped upstream
    network: Any = timm.create_model(f"local-dir:{request.folder}", pretrained=True).eval()
    transform: Any = data.create_transform(**data.resolve_model_data_config(network), is_training=False)
    classes = request.task == "image-classification"
    found = []
    with torch.inference_mode():
        for image in _raw(request.inputs):
            output = network(transform(image).unsqueeze(0))[0]
            found.append((torch.softmax(output, dim=-1) if classes else output).tolist())
    return [*found, *(sampled(transform(image)) for image in decoded_pictures() if request.pictures)]


def _sentence_transformers(request: LibraryRequest) -> list[list[float]]:
    import torch
    from sentence_transformers import SentenceTransformer

    network = SentenceTransformer(
        request.folder,
        device="cpu",
        trust_remote_code=False,
        local_files_only=True,
        model_kwargs={"dtype": torch.float32, "use_safetensors": True},
    )
    return [network.encode(text).tolist() for text in _raw(request.inputs)]


def _cross_encoder(request: LibraryRequest) -> list[float]:
    """Scores of pairs of texts."""
    import torch
    from sentence_transformers import CrossEncoder

    network = CrossEncoder(
        request.folder,
        device="cpu",
        trust_remote_code=False,
        local_files_only=True,
        max_length=request.max_tokens,
        model_kwargs={"dtype": torch.float32, "use_safetensors": True},
    )
    return [float(network.predict([(pair["text"], pair["text_pair"])])[0]) for pair in _raw(request.inputs)]


def _raw(inputs: Sequence[GoldenInput]) -> list[Any]:
    return [_raw_input(one) for one in inputs]


def _raw_input(one: GoldenInput) -> Any:
    """A text, a pair of texts, a photo, a photo with labels, or the mono samples of a sound with their rate."""
    from PIL import Image

    if one.noise is not None or (one.file or "").endswith(".flac"):
        sound = golden_recording(one, NOISE_RATE)
        if isinstance(sound, SamplesInstance):
            return sound.samples, sound.sample_rate
        assert isinstance(sound, AudioInstance)
        return decode_audio(sound.data, LONGEST_S, one.file or "")
    if one.file is not None:
        image = Image.open(golden_path(one.file)).convert("RGB")
        return {"image": image, "candidate_labels": list(one.candidate_labels)} if one.candidate_labels else image
    return one.text if one.text_pair is None else {"text": one.text, "text_pair": one.text_pair}


def reply_to(request: LibraryRequest) -> str:
    """The line that is written on standard output, without its end."""
    try:
        return strict_json.text({"answers": answer(request)})
    except strict_json.NotFinite:
        return strict_json.text({"reason": "they are not finite numbers"})
    except ImportError as error:
        traceback.print_exc()
        return strict_json.text({"reason": f"it is not installed ({error.name})"})
    except Exception as error:
        traceback.print_exc()
        return strict_json.text({"reason": f"it fails ({type(error).__name__}); ZOO_LOG_LEVEL=debug shows why"})


def main() -> None:
    """Answers one request. The exit code is 0 also where the library fails."""
    line = sys.stdin.buffer.raw.readline()  # type: ignore[union-attr]  # unbuffered: `end_with_parent` reads the rest
    request = strict_json.read_model(LibraryRequest, line)
    end_with_parent()
    reply = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)  # the output of libraries goes to the log
    protect()
    reply.write(reply_to(request) + "\n")
    reply.flush()


if __name__ == "__main__":
    main()
