"""Files of sources that no test reads."""

from model_zoo.cards.weight_source import SourceFile

WEIGHTS = {"weights": SourceFile(path="model.safetensors", sha256="0" * 64, bytes=1)}
