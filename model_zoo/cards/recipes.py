"""Input recipes: how the raw input of a model becomes the tensors of its signature."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from model_zoo.cards.part import CardPart

__all__ = [
    "LONGEST_SIDE",
    "RAW_OF",
    "AudioRecipe",
    "CategoryColumn",
    "CharacterRecipe",
    "CtcDecoding",
    "FilterBankRecipe",
    "FilterKernel",
    "ImageRecipe",
    "LabelledImageRecipe",
    "NotesRecipe",
    "NumberColumn",
    "PieceTokens",
    "PromptRecipe",
    "Recipe",
    "RecordRecipe",
    "RowRecipe",
    "ScaledImageRecipe",
    "SeriesRecipe",
    "SoundRecipe",
    "SpectrogramRecipe",
    "SubwordRecipe",
    "TensorsRecipe",
    "TextRecipe",
    "Triple",
    "VolumeRecipe",
    "WholeImageRecipe",
    "WindowDecoding",
]

Triple = tuple[float, float, float]
LONGEST_SIDE = 4096
"""Pixels of a side of the images that a network reads."""
Side = Annotated[int, Field(gt=0, le=LONGEST_SIDE)]


class ImageRecipe(CardPart):
    """Encoded image → FP32 (3, height, width): RGB, shorter side resized, centre crop, scaled to 0..1, normalised."""

    kind: Literal["image"]
    size: tuple[Side, Side]
    """(height, width) of the crop, pixels; each at most 4,096."""
    resize_shorter: int = Field(gt=0, le=LONGEST_SIDE)
    """Length of the shorter side before the crop, pixels."""
    stretch: bool = False
    """Whether the whole image is resized to `size` without keeping its proportions and without a crop."""
    letterbox: bool = False
    """Whether the whole image is resized in its proportions so that it just fits into `size`, in the middle; the rest is
    black."""
    stretch_to: tuple[Side, Side] | None = None
    """(height, width), pixels, to which the whole image is resized before the crop without keeping its proportions; its shorter
    side is `resize_shorter`. By default proportions are kept."""
    crop_rounding: Literal["even", "down"] = "even"
    """How a corner of the crop that lies between two pixels is rounded."""
    interpolation: Literal["bicubic", "bilinear"]
    mean: Triple
    """Per channel (R, G, B), of values in 0..1."""
    std: Triple
    """Per channel (R, G, B), of values in 0..1."""
    max_pixels: int = Field(default=50_000_000, gt=0)
    """Largest height × width; a larger image is refused before it is decoded (decompression bomb)."""

    @model_validator(mode="after")
    def _crop_fits(self) -> "ImageRecipe":
        if self.resize_shorter < max(self.size):
            raise ValueError("resize_shorter is less than the crop needs")
        if self.stretch_to is not None and (self.stretch or min(self.stretch_to) != self.resize_shorter):
            raise ValueError("stretch_to comes without stretch, and its shorter side is resize_shorter")
        if self.letterbox and (self.stretch or self.stretch_to is not None):
            raise ValueError("letterbox comes without stretch and stretch_to")
        if min(self.std) <= 0:
            raise ValueError("std must be positive")
        return self


class ScaledImageRecipe(CardPart):
    """Encoded image → FP32 (3, height, width): RGB, resized in its proportions, scaled to 0..1, normalised."""

    kind: Literal["scaled_image"]
    shortest_edge: int = Field(gt=0)
    """Length of the shorter side, pixels, unless the longer one would exceed its limit."""
    longest_edge: int = Field(gt=0, le=LONGEST_SIDE)
    """Greatest length of the longer side, pixels."""
    multiple_of: int = Field(default=1, gt=0)
    """Both sides are rounded down to multiples of it, pixels."""
    interpolation: Literal["bicubic", "bilinear"]
    mean: Triple
    """Per channel (R, G, B), of values in 0..1."""
    std: Triple
    """Per channel (R, G, B), of values in 0..1."""
    max_pixels: int = Field(default=50_000_000, gt=0)
    """Largest height × width; a larger image is refused before it is decoded (decompression bomb)."""

    @model_validator(mode="after")
    def _is_consistent(self) -> "ScaledImageRecipe":
        if not self.multiple_of <= self.shortest_edge <= self.longest_edge:
            raise ValueError("expected multiple_of ≤ shortest_edge ≤ longest_edge")
        if min(self.std) <= 0:
            raise ValueError("std must be positive")
        return self


Nine = Annotated[tuple[float, ...], Field(min_length=9, max_length=9)]


class FilterKernel(CardPart):
    """A kernel of 3 × 3 numbers, as it lies over the image: row by row, not turned over."""

    numbers: Nine
    second: Nine | None = None
    """Another kernel. The result is then the root of the sum of both squares, such as the length of a gradient."""
    scale: float = 1.0
    """The sum of products is divided by it."""
    offset: float = 0.0
    """Added after that, in grey levels."""

    @model_validator(mode="after")
    def _divides(self) -> "FilterKernel":
        if self.scale == 0:
            raise ValueError("scale must not be 0")
        return self


class WholeImageRecipe(CardPart):
    """Encoded image → UINT8 (height, width, 3): RGB in its own size, not normalised."""

    kind: Literal["whole_image"]
    max_pixels: int = Field(default=50_000_000, gt=0)
    """Largest height × width; a larger image is refused before it is decoded."""
    fit_pixels: int | None = Field(default=None, gt=0)
    """Greatest height × width of the tensor; a larger image is reduced to it in its proportions. None: none is."""
    kernels: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,30}$")], FilterKernel] = Field(default_factory=dict)
    """By name, those that a caller may choose for a network that takes a kernel with each image. The first one is the default.
    Empty for other networks."""

    @property
    def most_pixels(self) -> int:
        """Greatest height × width of the tensor."""
        return min(self.max_pixels, self.fit_pixels or self.max_pixels)


class VideoRecipe(CardPart):
    """Encoded video → UINT8 (window, height, width, 3): RGB of all its frames in a small size, window by window.

    Probabilities of cuts become shots."""

    kind: Literal["video"]
    height: int = Field(gt=0)
    """Of a frame as the network sees it, in pixels."""
    width: int = Field(gt=0)
    window: int = Field(gt=0)
    """Frames that the network reads at once."""
    stride: int = Field(gt=0)
    """Frames of a window that get an answer; as many are left out at its beginning as at its end, where the first and the last
    frame of the video are repeated."""
    threshold: float = Field(default=0.5, gt=0, lt=1)
    """A shot ends where the probability of a cut exceeds it."""
    max_frames: int = Field(gt=0)
    """Of an accepted video."""
    max_pixels: int = Field(gt=0)
    """Largest height × width of a frame; a video with larger ones is refused before it is decoded."""
    max_decode_seconds: float = Field(gt=0)
    """Longest time on this machine that the decoding of a video may take."""

    @model_validator(mode="after")
    def _answers_are_inside(self) -> "VideoRecipe":
        if self.stride > self.window or (self.window - self.stride) % 2:
            raise ValueError("stride must be an even number of frames less than window")
        return self


class VolumeRecipe(CardPart):
    """NIfTI-1 file → FP32 (1, x, y, z): its voxels, with axes to the right, to the front and upwards."""

    kind: Literal["volume"]
    least_side: int = Field(default=16, gt=0)
    """Least voxels on an axis."""
    most_voxels: int = Field(gt=0)
    """A larger volume is refused before it is unpacked."""
    threshold: float = Field(default=0.5, ge=0, le=1)
    """Voxels with more than this probability belong to the object."""
    object_name: str = Field(min_length=1, max_length=100)
    """What is found."""


class TextRecipe(CardPart):
    """Text → token ids and mask. The recipe, not the tokenizer file, decides on truncation and padding."""

    kind: Literal["text"]
    max_tokens: int = Field(gt=0)
    """Tokens of a text with special tokens; longer texts are truncated."""
    pad_id: int = Field(ge=0)
    """Token id that fills a shorter row of a batch; its mask is 0."""
    tokenizer: str = "tokenizer"
    """Role, in the source's files, of the tokenizer in the JSON format of the ``tokenizers`` library."""
    prefix: str = Field(default="", max_length=1000)
    """Put in front of every text, as the makers of some encoders ask for."""
    pooling: Literal["mean", "cls"] = "mean"
    """Pooling of the token vectors, inside the network, over the mask: their mean, or the first one. Only for features."""
    normalize: bool = False
    """Whether the network scales its embedding to length 1."""
    pairs: bool = False
    """Whether a second text may come with a text. The tokenizer joins them; `token_type_ids`, where the network has them, tell
    them apart."""
    pairs_only: bool = False
    """Whether a text alone is refused, as by a network that has learned from pairs."""
    truncation: Literal["longest_first", "only_first"] = "longest_first"
    """Which text of a pair is cut where both together are too long."""
    mask_token: str = Field(default="", max_length=100)
    """Stands in a text for a token to be found; empty for networks that find none."""
    mask_id: int | None = Field(default=None, ge=0)
    """Its token id."""
    max_masks: int = Field(default=8, gt=0, le=512)
    """Masks of a text. Outputs have room for as many, so that compiled networks give one shape."""
    clean_up_spaces: bool = False
    """Whether the makers' tokenizer takes the spaces before punctuation out of the texts that it makes of tokens."""
    symbols: str = Field(default="", max_length=1000)
    """Of sequences such as those of proteins: the characters that a text may have beside masks. A header of FASTA, white space
    and line ends are left out, and letters are made capitals. Empty for texts of any characters."""
    max_characters: int = Field(gt=0)
    """Characters of a text that the tokenizer reads; limits its time and memory."""


class PromptRecipe(CardPart):
    """Text → token ids and mask, which a network continues or rewrites token by token."""

    kind: Literal["prompt"]
    continues: bool
    """Whether the network continues the text (decoder only): a long text keeps its end, and shorter rows are padded on the left.
    Otherwise an encoder reads it: a long text keeps its beginning, and shorter rows are padded on the right."""
    max_tokens: int = Field(gt=0)
    """Tokens of a text with special tokens; longer texts are truncated."""
    pad_id: int = Field(ge=0)
    """Token id that fills a shorter row of a batch; its mask is 0."""
    stop_ids: tuple[Annotated[int, Field(ge=0)], ...] = ()
    """Token ids that end an answer."""
    tokenizer: str = "tokenizer"
    """Role, in the source's files, of the tokenizer in the JSON format of the ``tokenizers`` library."""
    max_characters: int = Field(gt=0)
    """Characters of a text that the tokenizer reads; limits its time and memory."""
    default_new_tokens: int = Field(gt=0)
    """Length of an answer, in tokens, for a caller that states none."""
    most_new_tokens: int = Field(gt=0)
    """The most tokens that a caller may ask for. A batch occupies its lane until its longest answer is written."""

    @model_validator(mode="after")
    def _default_is_allowed(self) -> "PromptRecipe":
        if self.default_new_tokens > self.most_new_tokens:
            raise ValueError("default_new_tokens is more than most_new_tokens")
        return self


class AudioRecipe(CardPart):
    """Encoded audio → mono FP32 samples in -1..1 at ``sample_rate``, and speech probabilities → segments.

    A segment opens at ``threshold`` and closes once the probability has stayed under ``threshold - 0.15`` for
    ``min_silence_seconds``. Segments shorter than ``min_speech_seconds`` are dropped; the others are widened by ``pad_seconds``
    on both sides. Silero VAD publishes this rule with its weights.
    """

    kind: Literal["audio"]
    sample_rate: Literal[16000]
    """Hertz."""
    frame_samples: Literal[512]
    """Samples behind one probability: 32 ms."""
    max_seconds: float = Field(gt=0)
    """Longest accepted audio."""
    threshold: float = Field(default=0.5, gt=0, lt=1)
    min_speech_seconds: float = Field(default=0.25, ge=0)
    min_silence_seconds: float = Field(default=0.1, ge=0)
    pad_seconds: float = Field(default=0.03, ge=0)


class CtcDecoding(CardPart):
    """Logits of frames → a transcript: the likeliest token of each frame, repetitions merged, blanks dropped (Graves et al., ICML
    2006). The tokens are the card's labels."""

    blank: int = Field(ge=0)
    """Token id of no token."""
    delimiter: str = ""
    """The token between words."""
    space: str = " "
    """What a text has in place of it."""
    lower: bool = False
    """Whether texts are converted to lower case."""
    clean_up: bool = False
    """Whether spaces before punctuation are dropped."""
    frame_samples: int = Field(gt=0)
    """From the beginning of a frame to that of the next, in samples."""
    chunk_seconds: float = Field(default=30.0, gt=0)
    """Longer sounds are read in chunks of this length, one after another."""
    overlap_seconds: float = Field(default=5.0, ge=0)
    """At both ends of a chunk that another one follows or precedes; its frames are dropped."""

    @model_validator(mode="after")
    def _chunks_advance(self) -> "CtcDecoding":
        if self.chunk_seconds <= 2 * self.overlap_seconds:
            raise ValueError("chunk_seconds must be more than twice overlap_seconds")
        return self


class WindowDecoding(CardPart):
    """Windows of a sound → a transcript, token by token and with timestamps among them (Whisper, arXiv:2212.04356)."""

    prompt: tuple[Annotated[int, Field(ge=0)] | None, ...] = Field(min_length=1)
    """Token ids with which an answer begins; None stands for the language that the network hears."""
    languages: tuple[Annotated[int, Field(ge=0)], ...] = ()
    """Token ids of the languages that it knows."""
    first_timestamp: int = Field(gt=0)
    """Token id of the beginning of a window; the id before it is that of no timestamps."""
    max_initial_timestamp: int | None = Field(default=None, ge=0)
    """The latest first timestamp of a window, in steps."""
    timestamp_seconds: float = Field(gt=0)
    """From one timestamp to the next."""
    frame_seconds: float = Field(gt=0)
    """From one column of the spectrogram to the next."""
    stop_id: int = Field(ge=0)
    """Token id that ends a window's text."""
    most_new_tokens: int = Field(gt=0)
    """Tokens of a window."""
    tokenizer: str = "tokenizer"
    """Role, in the source's files, of the tokenizer in the JSON format of the ``tokenizers`` library."""


class SoundRecipe(CardPart):
    """Encoded audio → the inputs of a network, by the feature extractor that its makers publish (of transformers)."""

    kind: Literal["sound"]
    extractor: Literal["ASTFeatureExtractor", "Wav2Vec2FeatureExtractor", "WhisperFeatureExtractor"]
    """Class of the library."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Its arguments."""
    sample_rate: int = Field(gt=0)
    """Hertz."""
    masked: bool = False
    """Whether a mask keeps padding out of the answers. Without one, a row of another length is alone in its batch."""
    least_samples: int = Field(default=1, gt=0)
    """The shortest sound that gives the network something to read, in samples at `sample_rate`."""
    window_seconds: float | None = Field(default=None, gt=0)
    """The part of a sound that the extractor reads, and fills with silence where it is shorter; None where it reads all."""
    ctc: CtcDecoding | None = None
    """Only of a network that transcribes frame by frame."""
    windows: WindowDecoding | None = None
    """Only of a network that transcribes window by window."""
    max_seconds: float = Field(gt=0)
    """Longest accepted audio."""


class SpectrogramRecipe(CardPart):
    """Encoded audio → FP32 (frames, mels): power mel spectrogram of mono samples, in windows of equal length.

    The mel filters are Slaney's, the default of librosa; windows overlap and their embeddings are averaged.
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
    """Share of a window that overlaps with the next one."""
    target_dbfs: float | None = None
    """Loudness to which quieter sounds are amplified; None leaves them as they are."""
    max_seconds: float = Field(gt=0)
    """Longest accepted audio."""


class FilterBankRecipe(CardPart):
    """Encoded audio → FP32 (frames, mels): logarithms of power in mel bands, frame by frame as Kaldi computes them.

    Frames have their mean removed, are pre-emphasised by 0.97 and tapered by a Hann window to the power of 0.85; none is padded.
    """

    kind: Literal["filter_bank"]
    sample_rate: int = Field(gt=0)
    """Hertz."""
    window_seconds: float = Field(gt=0)
    """Of one frame. A shorter sound is refused."""
    hop_seconds: float = Field(gt=0)
    mels: int = Field(gt=0)
    """Bands from 20 Hz to half the rate."""
    max_seconds: float = Field(gt=0)
    """Longest accepted audio."""


class NotesRecipe(CardPart):
    """Encoded audio → windows of mono FP32 samples in -1..1, and probabilities of notes and of their beginnings → notes.

    Windows overlap; half of the frames that do are dropped at either end of each.
    """

    kind: Literal["notes"]
    sample_rate: int = Field(gt=0)
    """Hertz."""
    frame_samples: int = Field(gt=0)
    """From one frame of the outputs to the next."""
    overlap_frames: int = Field(ge=0, multiple_of=2)
    """Of a window with the next one."""
    notes: str
    """Name of the output with the probability of each note, frame by frame."""
    onsets: str
    """Name of the output with the probability that a note begins."""
    lowest_pitch: int = Field(ge=0, le=127)
    """MIDI number of the first pitch of the outputs."""
    onset_threshold: float = Field(gt=0, le=1)
    """Least probability of the beginning of a note."""
    note_threshold: float = Field(gt=0, le=1)
    """Least probability of a note that sounds."""
    least_frames: int = Field(ge=0)
    """Notes that are not longer are dropped."""
    max_seconds: float = Field(gt=0)
    """Longest accepted audio."""


class CharacterRecipe(CardPart):
    """Text → ids of its characters, by an alphabet file; unknown characters are dropped, long texts are cut into windows."""

    kind: Literal["characters"]
    alphabet: str = "alphabet"
    """Role of the JSON file that maps characters to ids."""
    window: int = Field(gt=0)
    """Characters of the input of the network."""
    pad_id: int = Field(default=0, ge=0)
    lower: bool = False
    """Whether texts are converted to lower case first."""
    max_characters: int = Field(gt=0)
    """Of an accepted text."""
    max_new_tokens: int = Field(default=200, gt=0)
    """Default number of characters that generation adds."""
    temperature: float = Field(default=0.5, ge=0)


class SubwordRecipe(CardPart):
    """Text → ids of its words and of their character n-grams, hashed as fastText does it; line ends count as spaces."""

    kind: Literal["subwords"]
    vocabulary: str = "vocabulary"
    """Role of the JSON file with the words, the lengths of the n-grams, and those that were kept."""
    pad_id: int = Field(default=0, ge=0)
    max_characters: int = Field(gt=0)
    """Of a text; longer ones are cut."""


class NumberColumn(CardPart):
    """A column of numbers: `fill` for an empty cell, then (x - mean) / std."""

    name: str = Field(min_length=1)
    mean: float
    std: float = Field(gt=0)
    fill: float
    decimal: Literal[".", ","] = "."
    grouping: Literal["", ",", ".", " ", "'"] = ""
    unit: str = ""
    """The format of numbers that are written as texts, as in the training data: decimal sign, thousands separator, and a
    currency or unit beside the number."""


class CategoryColumn(CardPart):
    """A column of categories, encoded as position + 1; 0 stands for unknown values and empty cells."""

    name: str = Field(min_length=1)
    categories: tuple[str, ...]


class RowRecipe(CardPart):
    """A row of a table → FP32 ``numbers`` (n) and INT64 ``categories`` (m). A missing column is an empty cell."""

    kind: Literal["row"]
    numbers: tuple[NumberColumn, ...] = ()
    categories: tuple[CategoryColumn, ...] = ()
    target: str = ""
    """Target column of the training table; not an input."""
    ignored: tuple[str, ...] = ()
    """Further columns of the training table that are not inputs."""


class SeriesRecipe(CardPart):
    """A time series → FP32 (context, channels), each channel scaled by its own mean and spread over the context."""

    kind: Literal["series"]
    context: int = Field(gt=0)
    """Steps of the input; a longer series keeps its end, a shorter one is an error."""
    horizon: int = Field(gt=0)
    """Steps of the forecast."""
    channels: int = Field(default=1, gt=0)
    season: int = Field(default=1, gt=0)
    """Period of the series in steps; 1 if it has none."""


class RecordRecipe(CardPart):
    """An image and the row of a table that belongs to it."""

    kind: Literal["record"]
    image: ImageRecipe
    row: RowRecipe


class PieceTokens(CardPart):
    """Text → token ids by a model of sentencepiece, as the makers' own tokenizer of SigLIP: without capitals, ASCII punctuation
    and repeated spaces. A long text is cut before the token that ends it."""

    file: str = "pieces"
    """Role, in the source's files, of the model of sentencepiece."""
    unknown: str = Field(default="<unk>", min_length=1, max_length=100)
    """The text of the token for unknown pieces, which stands in front of a text while it is read."""
    end_id: int = Field(ge=0)
    """Token id that ends each text."""


class LabelledImageRecipe(CardPart):
    """An image with texts about labels → FP32 (3, height, width), and token ids of each text (labels, tokens)."""

    kind: Literal["labelled_image"]
    image: ImageRecipe
    text: TextRecipe
    """Of each text."""
    vocabulary: int = Field(gt=0)
    """Token ids of the network."""
    fixed_length: bool = False
    """Whether every text is padded to `max_tokens`, as for networks that take the features of the last place. Otherwise texts are
    padded to the longest one of a batch."""
    simplified: bool = False
    """Whether texts lose their capitals and their ASCII punctuation first, and the tokenizer of `text` reads them."""
    pieces: PieceTokens | None = None
    """How texts become tokens where the makers' tokenizer is one of sentencepiece; else the tokenizer of `text` reads them."""


class TensorsRecipe(CardPart):
    """No raw input: callers send the tensors of the signature."""

    kind: Literal["tensors"]
    axes: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """By input: the names of its axes after the rows, empty for an axis of fixed size. In a row, axes of one name are equally
    long."""
    max_length: int | None = Field(default=None, gt=0)
    """Greatest size of an axis whose size varies; None if none varies."""
    positions: dict[str, int] = Field(default_factory=dict)
    """By input of whole numbers that are positions in a table of the network, such as token ids: the length of the table."""
    mask: str = ""
    """Input with 1 for elements and 0 for padding: in a batch, shorter rows are padded with zeros along their first axis. Empty
    where no row is padded."""
    cut: tuple[str, ...] = ()
    """Outputs whose first axis after the rows is as long as that of the padded inputs: what padding added is cut off."""


Recipe = Annotated[
    ImageRecipe
    | ScaledImageRecipe
    | WholeImageRecipe
    | VideoRecipe
    | VolumeRecipe
    | TextRecipe
    | PromptRecipe
    | AudioRecipe
    | SoundRecipe
    | SpectrogramRecipe
    | FilterBankRecipe
    | NotesRecipe
    | CharacterRecipe
    | SubwordRecipe
    | RowRecipe
    | SeriesRecipe
    | RecordRecipe
    | LabelledImageRecipe
    | TensorsRecipe,
    Field(discriminator="kind"),
]


RAW_OF = {
    "scaled_image": "image",
    "whole_image": "image",
    "labelled_image": "image",
    "spectrogram": "audio",
    "filter_bank": "audio",
    "notes": "audio",
    "sound": "audio",
    "characters": "text",
    "subwords": "text",
    "prompt": "text",
    "tensors": "",
}
"""Kinds of recipe whose raw input has another name, or that have none."""
