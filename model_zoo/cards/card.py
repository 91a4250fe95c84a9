"""The card: all facts about one model, as typed and frozen data.

A card is written by hand as YAML (``model_zoo/cards/``) and validated when it is loaded. Preprocessing, batching limits,
signature and golden checks all derive from it; no other module guesses facts about a model. This module does not import torch.
"""

import hashlib
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from model_zoo import strict_json
from model_zoo.cards.box_rule import BoxRule
from model_zoo.cards.network_config import config_fault
from model_zoo.cards.part import CardPart, FileName
from model_zoo.cards.recipes import RAW_OF, Recipe, TextRecipe
from model_zoo.cards.signature import Signature
from model_zoo.cards.tuned_parts import AdapterSpec, ForecastScale, HeadSpec, TargetScale
from model_zoo.cards.weight_source import (
    BundledSource,
    CardSource,
    DebianSource,
    NpmSource,
    PypiSource,
    WeightSource,
    WeightsRecipe,
)
from model_zoo.golden.golden_case import GoldenCase

__all__ = [
    "Architecture",
    "Batching",
    "Card",
    "Closeness",
    "Figure",
    "Licence",
    "Tolerance",
    "Verification",
]


class Licence(CardPart):
    """SPDX expressions, or words if no licence is stated."""

    package: str = Field(min_length=1)
    weights: str = Field(min_length=1)


class Figure(CardPart):
    """A figure on data that the training did not see, beside that of a simple rule on the same data."""

    name: str = Field(min_length=1)
    """Name of the measured quantity, with its unit."""
    value: float
    baseline: str = Field(min_length=1)
    """The simple rule."""
    baseline_value: float

    @property
    def in_words(self) -> str:
        """In one line."""
        return f"{self.name}: {self.value:,g}; {self.baseline}: {self.baseline_value:,g}"


class Architecture(CardPart):
    """The library that builds the module, and its arguments. Building never reads weights."""

    builder: Literal[
        "timm",
        "torchvision",
        "transformers",
        "transformers_auto",
        "silero_vad",
        "speaker_lstm",
        "sound_events",
        "mel_vgg",
        "char_lstm",
        "char_gru",
        "word_gru",
        "small_cnn",
        "segmenter",
        "joined_cnn",
        "tabular_mlp",
        "feed_forward",
        "series_gru",
        "nanodet",
        "transnetv2",
        "person_segmenter",
        "movenet",
        "subword_classifier",
        "image_filter",
        "rdn",
        "brain_extractor",
        "onnx",
    ]
    """``onnx``: the graph in the file of the weights, which ONNX Runtime runs; there is no module. Its argument ``names`` has the
    names of inputs and outputs in the graph by those of the signature, where they differ. ``timm`` and ``transformers``:
    as these libraries build it; where Zoo has an equal module, the library is not imported."""
    arguments: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _is_buildable(self) -> "Architecture":
        if fault := config_fault(self.arguments, "arguments"):
            raise ValueError(fault)
        names = self.arguments.get("names", {})
        if self.builder == "onnx" and not (
            isinstance(names, Mapping) and all(isinstance(inner, str) for inner in names.values())
        ):
            raise ValueError("arguments.names must be names in the graph by those of the signature")
        return self

    @property
    def graph_names(self) -> Mapping[str, str]:
        """Names of inputs and outputs in an ONNX graph by those of the signature, where they differ."""
        names: Mapping[str, str] = self.arguments.get("names", {})
        return names


class Batching(CardPart):
    """Limits of one batch."""

    max_batch_size: int = Field(gt=0)
    """Rows."""
    cpu_batch_size: int = Field(default=8, gt=0)
    """Rows beyond which a larger batch on a CPU gains almost nothing. Callers would only wait longer, and a closed loop of
    callers would fall into step with one large batch, so that lanes are idle between two batches."""
    length_of: str | None = None
    """Input tensor whose axis 1 varies from row to row and is padded to the longest; None if no axis varies."""
    max_length: int | None = Field(default=None, gt=0)
    """Greatest length of that axis."""
    min_length: int = Field(default=1, gt=0)
    """Least length of that axis."""
    single_rows_because: str = ""
    """Why a batch has one row only, for users; empty where rows share batches."""

    @model_validator(mode="after")
    def _both_or_none(self) -> "Batching":
        if (self.length_of is None) != (self.max_length is None):
            raise ValueError("length_of and max_length belong together")
        if self.single_rows_because and self.max_batch_size != 1:
            raise ValueError("single_rows_because needs max_batch_size: 1")
        return self


class Closeness(CardPart):
    """The required similarity of another tier or precision to fp32 in eager torch, on the golden inputs."""

    max_flips: float = Field(ge=0, le=1)
    """Greatest share of decisions (first class, speech or not) that may differ; does not apply to embeddings."""
    min_cosine: float = Field(ge=-1, le=1)
    """Of the outputs of each row."""
    max_abs_error: float | None = Field(default=None, gt=0)
    """Of every output, in its units; None if it is unbounded."""

    @model_validator(mode="before")
    @classmethod
    def _read_agreement(cls, given: Any) -> Any:
        """Cards of versions that an earlier Zoo published bound the share of equal decisions instead."""
        if not isinstance(given, Mapping) or "min_top1_agreement" not in given:
            return given
        least = given["min_top1_agreement"]
        flips = round(1.0 - least, 9) if isinstance(least, int | float) else least
        return {"max_flips": flips, **{name: value for name, value in given.items() if name != "min_top1_agreement"}}


class Tolerance(CardPart):
    """The allowed change of a row's answer, in units of the outputs, between a padded batch and a single row, and between tiers
    and precisions."""

    max_abs_error: float = Field(gt=0)
    """Between single and batched rows, and between eager and compiled, both in fp32."""
    compiled: Closeness = Closeness(max_flips=0.0, min_cosine=0.9999)
    """Compiled in fp32, beside `max_abs_error`."""
    reduced_precision: Closeness = Closeness(max_flips=0.02, min_cosine=0.999)
    """In bf16 or fp16, compiled or not."""
    int8: Closeness = Closeness(max_flips=0.1, min_cosine=0.95)
    """Quantised, on request only; on examples of real data as well."""


class Verification(CardPart):
    """The outcome of the comparison with the makers' own library when the model was pulled."""

    library: str = Field(min_length=1)
    """Name and version, such as ``timm 1.0.31``."""
    inputs: int = Field(gt=0)
    """Number of raw inputs that both answered."""
    max_difference: float = Field(ge=0)
    """Greatest difference of a probability, of a value of an embedding of length 1, or of an edge of a box as a share of the
    image; of masks the share of pixels with another class."""
    bound: float = Field(gt=0)
    """The difference that was allowed."""


class Card(CardPart):
    """All facts about one model."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_]*$", max_length=63)
    family: Literal["cnn", "rnn", "transformer", "mlp", "linear"]
    task: str = Field(min_length=1)
    """Hugging Face task id."""
    summary: str = Field(min_length=1)
    """One sentence."""
    default: bool
    """Whether the model is served by default."""
    licence: Licence
    provenance: str = Field(min_length=1)
    """The author and the training data of the weights, and the origin of the artifact."""
    paper: str = Field(min_length=1)
    figures: tuple[Figure, ...] = ()
    """Of a network that Zoo itself has trained."""
    parameters: int = Field(gt=0)
    """Trainable numbers of the network as served."""
    reference: str = ""
    """The reference by which a user pulled the model; empty for a model that ships with Zoo or was fine-tuned."""
    verification: Verification | None = None
    """None for a model that was not compared with its makers' library."""
    source: WeightSource
    weights: WeightsRecipe
    architecture: Architecture
    keep_in_fp32: tuple[str, ...] = ()
    """Dotted names of modules of the backbone that stay in fp32 when the rest runs in bf16 or fp16: those whose rounding
    changes the answers most. Each takes one tensor and returns one."""
    head: HeadSpec | None = None
    """Of a fine-tuned network with a head; the outputs of the head are those of the signature."""
    adapter: AdapterSpec | None = None
    """Of a network that was fine-tuned by low-rank updates."""
    target: TargetScale | None = None
    """Of a fine-tuned network that predicts a number."""
    forecast: ForecastScale | None = None
    """Of a fine-tuned network that forecasts a series, if enough held-out data gave the intervals."""
    raw_input: Literal["image", "video", "text", "audio", "row", "series", "record", "volume", ""]
    """Name of the BYTES input, shape [-1, 1], that is accepted instead of the tensors; empty for a model of tensors only."""
    canonical: Literal["raw", "tensors"]
    """The form of input that a metadata request shows first."""
    signature: Signature
    recipe: Recipe
    labels: FileName | None = None
    """File of class names in the materialised folder, one a line in the order of the logits."""
    activation: Literal["softmax", "sigmoid", "identity"] = "softmax"
    """What makes scores of logits: `softmax` where classes exclude each other, `sigmoid` where each is decided alone."""
    class_names: tuple[str, ...] = ()
    """The content of that file, for a model whose source has it in another form."""
    boxes: BoxRule | None = None
    """Of a detector of objects."""
    batching: Batching
    tolerance: Tolerance
    golden: tuple[GoldenCase, ...] = ()
    """At least one for pretrained weights. A fine-tuned version has ``golden.safetensors`` instead."""

    @property
    def generates(self) -> bool:
        """Whether a run of the network is a loop over tokens; no compiler takes one."""
        return "generation" in self.architecture.arguments

    @property
    def weights_sha256(self) -> str:
        """sha256 of the file of weights in the source; of the card's own numbers, for a network that has them there; empty for
        one without weights."""
        if isinstance(self.source, CardSource):
            numbers = self.model_dump(mode="json", include={"architecture", "recipe"})
            return hashlib.sha256(strict_json.text(numbers, sort_keys=True).encode()).hexdigest()
        weights = self.source.files.get("weights")
        return "" if weights is None else weights.sha256

    @model_validator(mode="after")
    def _is_consistent(self) -> "Card":
        inputs = {spec.name: spec for spec in self.signature.inputs}
        if self.raw_input != RAW_OF.get(self.recipe.kind, self.recipe.kind):
            raise ValueError("raw_input and recipe.kind differ")
        if not self.raw_input and self.canonical == "raw":
            raise ValueError("canonical must be tensors for a model without raw_input")
        length_of = self.batching.length_of
        if length_of is not None and (length_of not in inputs or inputs[length_of].shape[1:2] != (-1,)):
            raise ValueError("batching.length_of must name an input of the signature whose axis 1 is -1")
        if self.task == "object-detection" and self.boxes is None:
            raise ValueError("boxes must say how a detector scores its boxes")
        if missing := sorted(self.weights.parts.keys() - self.source.files.keys()):
            raise ValueError(f"weights.parts names the role {missing[0]!r}, which source.files does not have")
        if not isinstance(self.source, PypiSource | NpmSource | DebianSource | BundledSource):
            return self
        if not self.golden:
            raise ValueError("golden must hold at least one case")
        made = self.weights.format == "fairseq"  # of the list of symbols
        if isinstance(self.recipe, TextRecipe) and self.recipe.tokenizer not in self.source.files and not made:
            raise ValueError("recipe.tokenizer names a role that source.files does not have")
        if self.labels is not None and not self.class_names and self.architecture.builder != "timm":
            raise ValueError("labels are known for ImageNet networks of timm only; give class_names")
        return self
