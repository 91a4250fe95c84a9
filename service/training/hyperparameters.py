"""The hyperparameters of a job: bounds, good default values, and a user's overrides. No torch here."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from model_zoo.cards.card import Card
from service.errors import InvalidInput
from service.training.job_spec import SEGMENTATION, Method

AUTO = "auto"
"""This value means the same as leaving the hyperparameter out."""

SOUNDS = 4
"""Sounds of one forward pass, of up to half a minute each."""

MAX_LEARNING_RATE = 1e12
"""Users may try rates that are far too high: the training loop detects divergence and reports it."""


class Hyperparameters(BaseModel):
    """All hyperparameters. `applicable` says which of them a job has."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    # ── the loop ──────────────────────────────────────────────────────────────────────────────────────────────
    epochs: int = Field(default=10, ge=1, le=10_000)
    """Largest number of passes over the training data: early stopping may end sooner."""
    batch_size: int = Field(default=16, ge=1, le=4096)
    """Examples of one forward pass."""
    accumulation: int = Field(default=1, ge=1, le=1024)
    """Batches whose gradients are added for one step."""
    learning_rate: float = Field(default=1e-3, gt=0, le=MAX_LEARNING_RATE)
    """Peak rate of the new layers."""
    backbone_rate: float = Field(default=1.0, gt=0, le=1000)
    """Learning rate of the backbone's last layers ÷ that of the new layers."""
    layer_decay: float = Field(default=1.0, gt=0, le=1)
    """Learning rate of each layer ÷ that of the layer above it."""
    weight_decay: float | None = Field(default=0.01, ge=0, le=1000)
    """Of weights; norms and biases have none. With method `head` it is the L2 penalty, and None chooses it on validation data."""
    warmup_ratio: float = Field(default=0.1, ge=0, le=0.9)
    """Share of all steps in which the rate rises to its peak. Afterwards it falls along half a cosine."""
    gradient_clip: float = Field(default=1.0, ge=0, le=1e6)
    """Largest norm of all gradients together; 0 does not clip."""
    patience: int = Field(default=5, ge=0, le=10_000)
    """Epochs without a better validation metric after which training stops; 0 never stops early."""
    label_smoothing: float = Field(default=0.0, ge=0, le=0.5)
    class_weights: Literal["none", "balanced"] = "none"
    """`balanced`: rare classes count as much as frequent ones."""
    dropout: float = Field(default=0.0, ge=0, le=0.9)
    """Before the head, or between the layers of a network that starts untrained."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """`auto`: bf16 if the device has instructions for it, otherwise fp32."""
    batch_norm: Literal["frozen", "trained"] = "frozen"
    """`frozen`: batch norms keep the running means of the base. Batches of a small data set are poor estimates of them."""
    checkpoint_steps: int = Field(default=0, ge=0, le=1_000_000)
    """Steps between two checkpoints; 0: at the end of each epoch, and at least once a minute."""

    # ── the data ──────────────────────────────────────────────────────────────────────────────────────────────
    augmentation: Literal["none", "light", "medium", "strong"] = "light"
    """Of images. light: crops and flips; medium: colours too; strong: RandAugment."""

    # ── the network ───────────────────────────────────────────────────────────────────────────────────────────
    head: Literal["linear", "mlp"] = "linear"
    hidden: int = Field(default=64, ge=1, le=8192)
    """Units of an MLP head, or of each layer of a network that starts untrained."""
    layers: int = Field(default=2, ge=1, le=16)
    """Of a network that starts untrained."""
    rank: int = Field(default=8, ge=1, le=256)
    """Of the low-rank updates."""
    alpha: int = Field(default=16, ge=1, le=1024)
    """The updates are scaled by alpha ÷ rank."""
    context: int = Field(default=0, ge=0, le=100_000)
    """Steps of a series that the network sees; 0 derives it from the data."""
    horizon: int = Field(default=0, ge=0, le=10_000)
    """Steps of a series that are forecast; 0 derives it from the data."""
    season: int = Field(default=0, ge=0, le=100_000)
    """Steps of one season of a series; 0 finds it in the data."""


_LOOP = frozenset(
    {"epochs", "batch_size", "accumulation", "learning_rate", "weight_decay", "warmup_ratio", "gradient_clip"}
    | {"patience", "precision", "checkpoint_steps", "dropout"}
)
_CLASSES = frozenset({"class_weights"})


def applicable(method: Method, task: str, base: Card) -> frozenset[str]:
    """The names of the hyperparameters that such a job has."""
    classes = _CLASSES if task.endswith("classification") else frozenset()
    if method is Method.HEAD:
        return frozenset({"head", "hidden", "weight_decay", "epochs", "learning_rate", "patience"}) | classes
    smoothing = frozenset({"label_smoothing"}) if classes else frozenset()
    names = _LOOP | classes | smoothing
    if task == SEGMENTATION:
        return (names | {"backbone_rate", "layer_decay", "augmentation", "batch_norm"}) - {"dropout"}
    match base.architecture.builder:
        case "tabular_mlp":
            return names | {"hidden", "layers"}
        case "series_gru":
            return names | {"hidden", "layers", "context", "horizon", "season"}
        case "nanodet":
            return (names | {"layer_decay", "augmentation"}) - {"dropout"}
        case _ if task == "text-generation":
            return (names | {"layer_decay"}) - {"dropout"}
    names |= {"head", "hidden"}
    if method is Method.LORA:
        return names | {"rank", "alpha"}
    names |= {"backbone_rate", "layer_decay"}
    return names | {"augmentation", "batch_norm"} if base.recipe.kind == "image" else names


def default_values(method: Method, task: str, base: Card, examples: int) -> dict[str, Any]:
    """Good values for such a job, if they differ from the defaults of `Hyperparameters`."""
    if method is Method.HEAD:
        return {"weight_decay": None, "epochs": 200, "learning_rate": 1e-2, "patience": 20}
    if task == SEGMENTATION:
        epochs = 20 if examples < 1_000 else 8
        rates = {"learning_rate": 2e-3, "backbone_rate": 0.1, "layer_decay": 0.8, "weight_decay": 0.01}
        return {"epochs": epochs, "batch_size": 8, "patience": 5, **rates}
    batch = 16 if examples < 2_000 else 32
    match base.architecture.builder:
        case "tabular_mlp":
            batch = max(16, min(256, examples // 20))
            common = {"batch_size": batch, "learning_rate": 2e-3, "weight_decay": 0.1, "hidden": 128}
            if examples < 1_000:  # little more than the linear part, with much weight decay
                small = {"layers": 1, "hidden": 32, "dropout": 0.1, "weight_decay": 3.0}
                return common | small | {"epochs": 100, "patience": 25}
            if examples < 2_000:  # a small network with much dropout, or it memorises the rows
                return common | {"epochs": 60, "patience": 12, "layers": 1, "dropout": 0.3, "hidden": 64}
            return common | {"epochs": 100, "patience": 15, "layers": 2, "dropout": 0.1}
        case "series_gru":
            return {"epochs": 100, "batch_size": 32, "learning_rate": 3e-3, "patience": 15, "weight_decay": 1e-4}
        case _ if task == "text-generation":
            return {"epochs": 10, "batch_size": 32, "learning_rate": 2e-3, "patience": 3, "weight_decay": 0.0}
        case "nanodet":
            epochs = 30 if examples < 1_000 else 12
            decay = {"layer_decay": 0.8, "weight_decay": 0.05}
            return {"epochs": epochs, "batch_size": 8, "learning_rate": 1e-3, "patience": 8, **decay}
        case "timm" | "torchvision" | "small_cnn":
            epochs = 15 if examples < 1_000 else 10 if examples < 10_000 else 5
            smoothing = 0.1 if task.endswith("classification") else 0.0
            # The head starts at its best linear solution, which larger steps would leave. The backbone changes little, least
            # of all near the input: its edge and colour filters suit any images.
            return {
                "epochs": epochs,
                "batch_size": batch,
                "learning_rate": 1e-3,
                "backbone_rate": 0.2,
                "layer_decay": 0.8,
                "weight_decay": 0.05,
                "label_smoothing": smoothing,
                "augmentation": "light" if examples < 10_000 else "medium",
                "batch_norm": "frozen" if examples < 2_000 else "trained",
                "dropout": 0.2,
            }
        case "transformers" | "transformers_auto":
            epochs = 6 if examples < 1_000 else 4 if examples < 10_000 else 2
            rate = {"learning_rate": 2e-3} if method is Method.LORA else {"learning_rate": 1e-3, "backbone_rate": 0.05}
            decay = {} if method is Method.LORA else {"layer_decay": 0.9}
            size: dict[str, Any] = {"batch_size": batch}
            if base.recipe.kind == "sound":  # a second of sound takes as much memory as a long text
                size = {"batch_size": SOUNDS, "accumulation": batch // SOUNDS}
            return {"epochs": epochs, "dropout": 0.1, "patience": 3, **size, **rate, **decay}
    return {"epochs": 15, "batch_size": batch, "learning_rate": 2e-3, "backbone_rate": 0.2, "layer_decay": 0.8}


def resolve(method: Method, task: str, base: Card, examples: int, overrides: Mapping[str, Any]) -> Hyperparameters:
    """Default values with the user's overrides.

    Args:
        examples: in the whole data set.

    Raises:
        InvalidInput: ``spec.hyperparameters.<name>`` is unknown, not applicable to this job, or out of its bounds.
    """
    names = applicable(method, task, base)
    for name in overrides:
        if name not in names:
            raise InvalidInput(f"spec.hyperparameters.{_shown(name)}", _unknown_name(_shown(name), names, method))
    chosen = {name: value for name, value in overrides.items() if value != AUTO}
    values = {name: value for name, value in default_values(method, task, base, examples).items() if name in names}
    if "batch_size" in chosen:  # the default accumulation goes with the default batch size
        values.pop("accumulation", None)
    try:
        return Hyperparameters.model_validate(values | chosen)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        name = str(fault["loc"][0])
        raise InvalidInput(
            f"spec.hyperparameters.{name}", f"expected {bounds_of(name)}, got {_shown(repr(fault['input']))}"
        ) from None


def bounds_of(name: str) -> str:
    """The bounds of a hyperparameter, in words."""
    schema = Hyperparameters.model_json_schema()["properties"][name]
    schema = next((part for part in schema.get("anyOf", ()) if part.get("type") != "null"), schema)
    if "enum" in schema:
        return "one of " + ", ".join(schema["enum"])
    low = f"at least {schema['minimum']:g}" if "minimum" in schema else f"more than {schema['exclusiveMinimum']:g}"
    return f"{'a whole number' if schema['type'] == 'integer' else 'a number'}, {low} and at most {schema['maximum']:g}"


def _unknown_name(name: str, names: frozenset[str], method: Method) -> str:
    if name in Hyperparameters.model_fields:
        return f"has no meaning for this base, task and method; method {method.value} has {', '.join(sorted(names))}"
    near = difflib.get_close_matches(name, sorted(names), n=2, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"expected one of {', '.join(sorted(names))}"
    return f"unknown hyperparameter; {hint}"


def _shown(text: str) -> str:
    """At most 60 characters of a text from the user, for an error."""
    return text if len(text) <= 60 else f"{text[:57]}..."
