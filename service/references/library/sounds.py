"""The library's own embeddings of sounds. Runs in the process of `library_answers.py`."""

from __future__ import annotations

from typing import Any

from service.references.library_request import LibraryRequest
from service.references.transformers_pipelines import at_rate

EMBEDDING = "feature-extraction"


def sound_embeddings(request: LibraryRequest, sounds: list[Any]) -> list[list[float]]:
    """Of each sound, given as samples and their rate: what the network pools, or the mean of its frames.

    The library's pipeline of this task reads texts only.
    """
    import torch
    import transformers

    library: Any = transformers  # untyped upstream
    offline = {"local_files_only": True, "trust_remote_code": False}
    extractor = library.AutoFeatureExtractor.from_pretrained(request.folder, **offline)
    network = library.AutoModel.from_pretrained(
        request.folder, dtype=torch.float32, use_safetensors=True, **offline
    ).eval()
    if network.config.is_encoder_decoder:
        network = network.get_encoder()
    rate, found = extractor.sampling_rate, []
    with torch.inference_mode():
        for sound in sounds:
            outputs = network(**extractor(at_rate(sound, rate), sampling_rate=rate, return_tensors="pt"))
            pooled = getattr(outputs, "pooler_output", None)
            found.append((outputs.last_hidden_state.mean(dim=1) if pooled is None else pooled)[0].tolist())
    return found
