"""What transformers writes by its own tokenizer, network and ``generate``. Runs in the process of `library_answers.py`."""

from __future__ import annotations

from typing import Any

from model_zoo.references.transformers.whisper import WHISPER_RULES
from service.references.library_request import LibraryRequest
from service.references.transformers_pipelines import adapted_network
from service.tasks.text.prompted_generation import CHECKED_TOKENS

SPEECH = "automatic-speech-recognition"
AUTO_CLASSES = {"text-generation": "AutoModelForCausalLM", "text2text-generation": "AutoModelForSeq2SeqLM"}
"""By task. The library has no pipeline for the second one any more."""


def transcribed(request: LibraryRequest, sounds: list[Any]) -> list[dict[str, Any]]:
    """Of the first window of each sound, given as samples and their rate: as `written`; timestamps are among the tokens."""
    import torch
    import transformers

    from service.references.transformers_pipelines import at_rate

    library: Any = transformers  # untyped upstream
    pipe: Any = library.pipeline(SPEECH, model=request.folder, device="cpu", dtype=torch.float32)
    network, tokenizer, found = pipe.model, pipe.tokenizer, []
    network.generation_config.return_dict_in_generate = network.generation_config.output_scores = True
    for name, value in WHISPER_RULES.items():
        if name not in (request.generation or {}):  # the comparison is under the rules that Zoo uses
            setattr(network.generation_config, name, value)
    with torch.inference_mode():
        for raw in sounds:
            (inputs,) = pipe.preprocess(at_rate(raw, pipe.feature_extractor.sampling_rate))
            reply = network.generate(
                inputs["input_features"],
                do_sample=False,
                num_beams=1,
                max_new_tokens=CHECKED_TOKENS,
                return_timestamps=True,
                force_unique_generate_call=True,
            )
            scores = torch.stack(reply.scores, dim=1)[0].softmax(dim=-1)  # (tokens, vocabulary)
            ids = reply.sequences[0, -len(scores) :]
            text = tokenizer.decode(
                [one for one in ids.tolist() if one < request.first_timestamp], skip_special_tokens=True
            )
            probabilities = scores.gather(1, ids[:, None])[:, 0]
            found.append({"ids": ids.tolist(), "probabilities": probabilities.tolist(), "text": text})
    return found


def written(request: LibraryRequest, texts: list[str]) -> list[dict[str, Any]]:
    """Of each text: the ``ids`` of the likeliest tokens, one after another, their ``probabilities``, and the ``text``."""
    import torch
    import transformers

    library: Any = transformers  # untyped upstream
    offline = {"local_files_only": True, "trust_remote_code": False}
    auto = getattr(library, AUTO_CLASSES[request.task])
    if request.adapter is not None:
        network = adapted_network(request, AUTO_CLASSES[request.task])
    else:
        network = auto.from_pretrained(request.folder, dtype=torch.float32, use_safetensors=True, **offline).eval()
    network.generation_config = library.GenerationConfig(**(request.generation or {}))
    continues = not network.config.is_encoder_decoder
    tokenizer = library.AutoTokenizer.from_pretrained(request.folder, **offline)
    tokenizer.truncation_side = "left" if continues else "right"
    found = []
    with torch.inference_mode():
        for text in texts:
            read = tokenizer(text, truncation=True, max_length=request.max_tokens, return_tensors="pt")
            reply = network.generate(
                input_ids=read["input_ids"],
                attention_mask=read["attention_mask"],
                do_sample=False,
                num_beams=1,
                max_new_tokens=CHECKED_TOKENS,
                return_dict_in_generate=True,
                output_scores=True,
            )
            sequence, start = reply.sequences[0], read["input_ids"].shape[1] if continues else 1
            ids = sequence[start:]
            scores = torch.stack(reply.scores, dim=1)[0].softmax(dim=-1)  # (tokens, vocabulary)
            # As the library's pipeline cuts it: some tokenizers write the first token of a text without the space before it.
            before = tokenizer.decode(sequence[:start], skip_special_tokens=True) if continues else ""
            written_text = tokenizer.decode(sequence, skip_special_tokens=True)[len(before) :]
            probabilities = scores.gather(1, ids[:, None])[:, 0]
            found.append({"ids": ids.tolist(), "probabilities": probabilities.tolist(), "text": written_text})
    return found
