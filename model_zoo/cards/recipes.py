"""Input recipes: how the raw input of a model becomes the tensors of its signature."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from model_zoo.cards.part import CardPart

__all__ = [
    "RAW_OF",
    "AudioRecipe",
    "CategoryColumn",
    "CharacterRecipe",
    "ImageRecipe",
    "NumberColumn",
    "Recipe",
    "RecordRecipe",
    "RowRecipe",
    "SeriesRecipe",
    "SpectrogramRecipe",
    "TextRecipe",
    "Triple",
]

Triple = tuple[float, float, float]


class ImageRecipe(CardPart):
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


class TextRecipe(CardPart):
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


class AudioRecipe(CardPart):
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


class SpectrogramRecipe(CardPart):
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


class CharacterRecipe(CardPart):
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


class NumberColumn(CardPart):
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


class CategoryColumn(CardPart):
    """A column of categories, each its position + 1; 0 stands for what was never seen and for an empty cell."""

    name: str = Field(min_length=1)
    categories: tuple[str, ...]


class RowRecipe(CardPart):
    """A row of a table → FP32 ``numbers`` (n) and INT64 ``categories`` (m). A missing column is an empty cell."""

    kind: Literal["row"]
    numbers: tuple[NumberColumn, ...] = ()
    categories: tuple[CategoryColumn, ...] = ()
    target: str = ""
    """Column of the training table that was learned; no input."""
    ignored: tuple[str, ...] = ()
    """Its further columns that are no inputs."""


class SeriesRecipe(CardPart):
    """Numbers in time → FP32 (context, channels), each channel scaled by its own mean and spread over the context."""

    kind: Literal["series"]
    context: int = Field(gt=0)
    """Steps that the network looks back on; a longer series keeps its end, a shorter one is an error."""
    horizon: int = Field(gt=0)
    """Steps ahead that it forecasts."""
    channels: int = Field(default=1, gt=0)
    season: int = Field(default=1, gt=0)
    """Steps after which the series looks alike; 1 if it does not."""


class RecordRecipe(CardPart):
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
