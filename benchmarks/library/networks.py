"""The networks that are measured, as folders in the layout of their libraries.

The architectures have their published sizes. No hub is asked: where no package ships the weights, they are random with a seed,
since speed and memory do not depend on their values. Texts are cut into tokens by the vocabulary of `all_minilm_l6_v2`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from model_zoo import strict_json
from model_zoo.catalog import Catalog
from model_zoo.materialised import Materialised
from model_zoo.store import Store

SEED = 20
CNN, ENCODER = "efficientnet_lite0", "all_minilm_l6_v2"
TIMM_CNN = "tf_efficientnet_lite0"
LABELS = {0: "negative", 1: "positive"}


@dataclass(frozen=True)
class Published:
    """A network that is measured.

    Attributes:
        name: of the model at Zoo.
        library: what answers beside Zoo: `timm`, `sentence-transformers`, or the task of a pipeline of transformers.
        raw_input: `image`, `text` or `audio`; the callers send it as it is.
        write: writes the folder of the network, with the files of the home where it needs some.
        own_card: whether the zoo has a card for it, so that nothing is pulled.
    """

    name: str
    library: str
    raw_input: str
    write: Callable[[Path, Store], None]
    own_card: bool = False


def _transformers() -> Any:
    """The library, which is untyped upstream."""
    import transformers

    return transformers


def _files(name: str, store: Store) -> Materialised:
    found = store.find(Catalog.from_package().get(name))
    if found is None:
        raise SystemExit(f"the weights of {name} are missing; run: zoo pull {name}")
    return found


def _write_timm(folder: Path, name: str, state: Mapping[str, torch.Tensor] | None) -> None:
    """A folder of timm: `config.json` with the pretrained configuration, and the weights."""
    import timm
    from safetensors.torch import save_file

    torch.manual_seed(SEED)
    network: Any = timm.create_model(name, pretrained=False)
    if state is not None:
        network.load_state_dict(state)
    config = dict(network.pretrained_cfg)
    wanted = (
        "input_size",
        "interpolation",
        "crop_pct",
        "mean",
        "std",
        "num_classes",
        "pool_size",
        "first_conv",
        "classifier",
    )
    facts = {key: config[key] for key in wanted if key in config}
    names = [f"class {number}" for number in range(network.num_classes)]
    document = {"architecture": name, "num_classes": network.num_classes, "label_names": names}
    _write_json(folder / "config.json", {**document, "pretrained_cfg": {**facts, "custom_load": False}})
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, folder / "model.safetensors")


def write_cnn(folder: Path, store: Store) -> None:
    """EfficientNet-lite0 with its published weights."""
    from safetensors.torch import load_file

    _write_timm(folder, TIMM_CNN, load_file(_files(CNN, store).weights))


def write_resnet50(folder: Path, store: Store) -> None:
    """ResNet-50, random weights."""
    _write_timm(folder, "resnet50", None)


def write_vit(folder: Path, store: Store) -> None:
    """ViT-S/16 with a thousand classes, random weights."""
    transformers = _transformers()
    torch.manual_seed(SEED)
    names = {number: f"class {number}" for number in range(1000)}
    config = transformers.ViTConfig(
        hidden_size=384, num_attention_heads=6, intermediate_size=1536, id2label=names, label2id=_turned(names)
    )
    transformers.ViTForImageClassification(config).eval().save_pretrained(folder)
    transformers.ViTImageProcessor().save_pretrained(folder)


def write_encoder(folder: Path, store: Store) -> None:
    """MiniLM with its published weights, in the layout of sentence-transformers."""
    from safetensors.torch import load_file

    transformers = _transformers()

    files = _files(ENCODER, store)
    config = transformers.BertConfig(
        hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536
    )
    network = transformers.BertModel(config, add_pooling_layer=False).eval()
    state = load_file(files.weights)
    known = network.state_dict().keys()
    network.load_state_dict({key: value for key, value in state.items() if key in known})
    network.save_pretrained(folder)
    _write_tokenizer(folder, files)
    _write_sentence_modules(folder, 384)


def write_bert(folder: Path, store: Store) -> None:
    """BERT-base for two classes, random weights."""
    transformers = _transformers()
    torch.manual_seed(SEED)
    config = transformers.BertConfig(id2label=LABELS, label2id=_turned(LABELS))
    transformers.BertForSequenceClassification(config).eval().save_pretrained(folder)
    _write_tokenizer(folder, _files(ENCODER, store))


def write_wav2vec2(folder: Path, store: Store) -> None:
    """A classifier of sounds of the size of wav2vec2-base, with normalisation that batches keep; random weights."""
    transformers = _transformers()
    torch.manual_seed(SEED)
    config = transformers.Wav2Vec2Config(
        id2label=LABELS, label2id=_turned(LABELS), feat_extract_norm="layer", do_stable_layer_norm=True
    )
    transformers.Wav2Vec2ForSequenceClassification(config).eval().save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(return_attention_mask=True).save_pretrained(folder)


def _write_tokenizer(folder: Path, files: Materialised) -> None:
    shutil.copy2(files.files["tokenizer"], folder / "tokenizer.json")
    special = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    facts = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 256, "padding_side": "right", **special}
    _write_json(folder / "tokenizer_config.json", facts)


def _write_sentence_modules(folder: Path, width: int) -> None:
    kinds = {"Transformer": "", "Pooling": "1_Pooling", "Normalize": "2_Normalize"}
    modules = [
        {"idx": idx, "name": str(idx), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for idx, (kind, path) in enumerate(kinds.items())
    ]
    pooling = {"word_embedding_dimension": width, "pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}
    _write_json(folder / "modules.json", modules)
    (folder / "1_Pooling").mkdir()
    _write_json(folder / "1_Pooling" / "config.json", pooling)
    _write_json(folder / "sentence_bert_config.json", {"max_seq_length": 256, "do_lower_case": False})
    _write_json(folder / "config_sentence_transformers.json", {"prompts": {}, "default_prompt_name": None})


def _write_json(path: Path, document: Any) -> None:
    path.write_text(strict_json.text(document), "utf-8")


def _turned(names: Mapping[int, str]) -> dict[str, int]:
    return {name: number for number, name in names.items()}


NETWORKS = (
    Published(CNN, "timm", "image", write_cnn, own_card=True),
    Published("resnet50", "timm", "image", write_resnet50),
    Published("vit_small", "image-classification", "image", write_vit),
    Published(ENCODER, "sentence-transformers", "text", write_encoder, own_card=True),
    Published("bert_base", "text-classification", "text", write_bert),
    Published("wav2vec2_base", "audio-classification", "audio", write_wav2vec2),
)
"""In the order of the report."""
