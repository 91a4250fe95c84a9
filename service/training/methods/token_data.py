"""The texts of a job with labelled spans, prepared for its network."""

from __future__ import annotations

from dataclasses import dataclass

from service.training.data.accounting import send_left_out
from service.training.data.prepared import PreparedExamples
from service.training.data.tagged_tokens import TaggedTexts
from service.training.failures import CannotTrain
from service.training.methods.supervised import SPLITS, filled_splits
from service.training.protocol import Log, SendMessage
from service.training.stop_signal import StopSignal
from service.training.training_job import TrainingJob


@dataclass(frozen=True)
class TokenData:
    """Usable texts and their tags, by split."""

    texts: TaggedTexts
    splits: dict[str, tuple[int, ...]]
    labels: tuple[str, ...]
    """Of spans."""

    def text(self, job: TrainingJob, index: int) -> str:
        """The text of an example."""
        return bytes(job.examples[index].instance.data).decode()  # type: ignore[union-attr]


def prepare_tokens(job: TrainingJob, prepared: PreparedExamples, send: SendMessage, stop: StopSignal) -> TokenData:
    """Tokenises every text once; says how many are longer than the network reads. Raises CannotTrain if no training text is
    usable, or no held-out one has a span."""
    splits = {name: prepared.usable(job.splits[name], stop) for name in SPLITS}
    job.left_out.update(prepared.left_out)
    send_left_out(job, send)
    splits = filled_splits(splits, prepared, send, "text")
    texts = TaggedTexts(job.examples, prepared)
    if not any(texts.spans(index) for index in splits["test"]):
        raise CannotTrain("no held-out text has a span, so the result could not be judged")
    used = sorted({index for indices in splits.values() for index in indices})
    job.truncated.update(prepared.truncated)
    cut = len(prepared.truncated)
    if cut:
        most = job.base.batching.max_length
        why = f"{cut} of {len(used)} texts are longer than the {most} tokens that the network reads"
        send(Log(level="warning", text=f"{why}: nothing is learned of their ends, and spans there count as not found"))
    return TokenData(texts, splits, job.info.labels)
