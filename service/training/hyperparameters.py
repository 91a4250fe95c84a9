"""The knobs of a job: bounds, values that are good without tuning, and what a user overrides. No torch here."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from model_zoo.cards.card import Card
from service.errors import InvalidInput
from service.training.job_spec import Method

AUTO = "auto"
"""As a value it means what it means by being left out."""

LARGEST_RATE = 1e12
"""A rate that is far too high is the user's to try: the loop notices that training diverges, and says so."""


class Hyperparameters(BaseModel):
    """All of them. Which of them mean something for a job is in `meaningful`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    # ── the loop ──────────────────────────────────────────────────────────────────────────────────────────────
    epochs: int = Field(default=10, ge=1, le=10_000)
    """Passes over the training data, at most: early stopping may end sooner."""
    batch_size: int = Field(default=16, ge=1, le=4096)
    """Examples of one forward pass."""
    accumulation: int = Field(default=1, ge=1, le=1024)
    """Batches whose gradients are added up for one step."""
    learning_rate: float = Field(default=1e-3, gt=0, le=LARGEST_RATE)
    """Of the new layers, at its peak."""
    backbone_rate: float = Field(default=1.0, gt=0, le=1000)
    """Learning rate of the backbone's last layers ÷ that of the new layers."""
    layer_decay: float = Field(default=1.0, gt=0, le=1)
    """Each layer further down learns by this factor more slowly."""
    weight_decay: float | None = Field(default=0.01, ge=0, le=1000)
    """Of weights; norms and biases have none. With `head` it is the L2 penalty, and None chooses it on validation data."""
    warmup_ratio: float = Field(default=0.1, ge=0, le=0.9)
    """Share of all steps in which the rate rises to its peak; it falls along a half cosine afterwards."""
    gradient_clip: float = Field(default=1.0, ge=0, le=1e6)
    """Largest norm of all gradients together; 0 leaves them as they are."""
    patience: int = Field(default=5, ge=0, le=10_000)
    """Epochs without a better validation metric after which training stops; 0 never stops early."""
    label_smoothing: float = Field(default=0.0, ge=0, le=0.5)
    class_weights: Literal["none", "balanced"] = "none"
    """`balanced`: rare classes count as much as frequent ones."""
    dropout: float = Field(default=0.0, ge=0, le=0.9)
    """In front of the head, or between the layers of a network that begins untrained."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """`auto`: bf16 where the device computes in it, fp32 elsewhere."""
    batch_norm: Literal["frozen", "trained"] = "frozen"
    """Whether running means of batch norms stay those of the base. Batches of a small data set are poor estimates."""
    checkpoint_steps: int = Field(default=0, ge=0, le=1_000_000)
    """Steps between two checkpoints; 0: at the end of each epoch, and after a minute at the latest."""

    # ── the data ──────────────────────────────────────────────────────────────────────────────────────────────
    augmentation: Literal["none", "light", "medium", "strong"] = "light"
    """Of pictures. light: crops and flips; medium: colours too; strong: RandAugment."""

    # ── the network ───────────────────────────────────────────────────────────────────────────────────────────
    head: Literal["linear", "mlp"] = "linear"
    hidden: int = Field(default=64, ge=1, le=8192)
    """Units of an mlp head, or of each layer of a network that begins untrained."""
    layers: int = Field(default=2, ge=1, le=16)
    """Of a network that begins untrained."""
    rank: int = Field(default=8, ge=1, le=256)
    """Of the low-rank updates."""
    alpha: int = Field(default=16, ge=1, le=1024)
    """The updates are scaled by alpha ÷ rank."""
    context: int = Field(default=0, ge=0, le=100_000)
    """Steps of a series that the network looks back on; 0 follows the data."""
    horizon: int = Field(default=0, ge=0, le=10_000)
    """Steps of a series that are forecast; 0 follows the data."""
    season: int = Field(default=0, ge=0, le=100_000)
    """Steps after which a series looks alike; 0 finds it in the data."""


_LOOP = frozenset(
    {"epochs", "batch_size", "accumulation", "learning_rate", "weight_decay", "warmup_ratio", "gradient_clip"}
    | {"patience", "precision", "checkpoint_steps", "dropout"}
)
_CLASSES = frozenset({"class_weights"})


def meaningful(method: Method, task: str, base: Card) -> frozenset[str]:
    """Names of the hyperparameters that a job of this kind has."""
    classes = _CLASSES if task.endswith("classification") else frozenset()
    if method is Method.HEAD:
        return frozenset({"head", "hidden", "weight_decay", "epochs", "learning_rate", "patience"}) | classes
    smooth = frozenset({"label_smoothing"}) if classes else frozenset()
    names = _LOOP | classes | smooth
    match base.architecture.builder:
        case "tabular_mlp":
            return names | {"hidden", "layers"}
        case "series_gru":
            return names | {"hidden", "layers", "context", "horizon", "season"}
        case _ if task == "text-generation":
            return (names | {"layer_decay"}) - {"dropout"}
    names |= {"head", "hidden"}
    if method is Method.LORA:
        return names | {"rank", "alpha"}
    names |= {"backbone_rate", "layer_decay"}
    return names | {"augmentation", "batch_norm"} if base.recipe.kind == "image" else names


def automatic(method: Method, task: str, base: Card, examples: int) -> dict[str, Any]:
    """Values that are good without tuning, where they are not the defaults."""
    if method is Method.HEAD:
        return {"weight_decay": None, "epochs": 200, "learning_rate": 1e-2, "patience": 20}
    batch = 16 if examples < 2_000 else 32
    match base.architecture.builder:
        case "tabular_mlp":
            batch = max(16, min(256, examples // 20))
            common = {"batch_size": batch, "learning_rate": 2e-3, "weight_decay": 0.1, "hidden": 128}
            if examples < 1_000:  # hardly more than a line, and much decay
                small = {"layers": 1, "hidden": 32, "dropout": 0.1, "weight_decay": 3.0}
                return common | small | {"epochs": 100, "patience": 25}
            if examples < 2_000:  # a small network with much dropout, or it learns the rows by heart
                return common | {"epochs": 60, "patience": 12, "layers": 1, "dropout": 0.3, "hidden": 64}
            return common | {"epochs": 100, "patience": 15, "layers": 2, "dropout": 0.1}
        case "series_gru":
            return {"epochs": 100, "batch_size": 32, "learning_rate": 3e-3, "patience": 15, "weight_decay": 1e-4}
        case _ if task == "text-generation":
            return {"epochs": 10, "batch_size": 32, "learning_rate": 2e-3, "patience": 3, "weight_decay": 0.0}
        case "timm":
            epochs = 15 if examples < 1_000 else 10 if examples < 10_000 else 5
            smoothing = 0.1 if task.endswith("classification") else 0.0
            # The head begins at its best linear solution, which larger steps would walk away from; the backbone is nudged: less
            # and less towards the input, whose edges and colours are everybody's.
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
        case "transformers":
            epochs = 6 if examples < 1_000 else 4 if examples < 10_000 else 2
            rate = {"learning_rate": 2e-3} if method is Method.LORA else {"learning_rate": 1e-3, "backbone_rate": 0.05}
            decay = {} if method is Method.LORA else {"layer_decay": 0.9}
            return {"epochs": epochs, "batch_size": batch, "dropout": 0.1, "patience": 3, **rate, **decay}
    return {"epochs": 15, "batch_size": batch, "learning_rate": 2e-3, "backbone_rate": 0.2, "layer_decay": 0.8}


def resolve(method: Method, task: str, base: Card, examples: int, overrides: Mapping[str, Any]) -> Hyperparameters:
    """Automatic values, and the user's where there are some.

    Args:
        examples: of the whole data set.

    Raises:
        InvalidInput: ``spec.hyperparameters.<name>``: unknown, without meaning for this job, or out of its bounds.
    """
    known = meaningful(method, task, base)
    for name in overrides:
        if name not in known:
            raise InvalidInput(f"spec.hyperparameters.{_cut(name)}", _no_such(_cut(name), known, method))
    chosen = {name: value for name, value in overrides.items() if value != AUTO}
    values = {name: value for name, value in automatic(method, task, base, examples).items() if name in known}
    try:
        return Hyperparameters.model_validate(values | chosen)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        name = str(fault["loc"][0])
        raise InvalidInput(
            f"spec.hyperparameters.{name}", f"expected {expected(name)}, got {_shown(fault['input'])}"
        ) from None


def expected(name: str) -> str:
    """The bounds of a hyperparameter in words."""
    schema = Hyperparameters.model_json_schema()["properties"][name]
    schema = next((part for part in schema.get("anyOf", ()) if part.get("type") != "null"), schema)
    if "enum" in schema:
        return "one of " + ", ".join(schema["enum"])
    low = f"at least {schema['minimum']:g}" if "minimum" in schema else f"more than {schema['exclusiveMinimum']:g}"
    return f"{'a whole number' if schema['type'] == 'integer' else 'a number'}, {low} and at most {schema['maximum']:g}"


def _no_such(name: str, known: frozenset[str], method: Method) -> str:
    if name in Hyperparameters.model_fields:
        return f"has no meaning for this base, task and method; method {method.value} has {', '.join(sorted(known))}"
    near = difflib.get_close_matches(name, sorted(known), n=2, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"expected one of {', '.join(sorted(known))}"
    return f"unknown hyperparameter; {hint}"


def _shown(value: object) -> str:
    return _cut(repr(value))


def _cut(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."
