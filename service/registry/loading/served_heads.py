"""Heads on loaded bases: how one is put into service, and which heads a base carries."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from model_zoo.golden.golden_items import read_golden_items
from service.engine.served_head import ServedHead
from service.engine.served_model import ServedModel
from service.observability.recorder import Recorder
from service.registry.loading.loaded import LoadedHead
from service.registry.model_table import ModelTable
from service.registry.model_version import ModelVersion
from service.registry.options import limits_of
from service.runtime.network import Runtime
from service.verification.check_key import check_key
from service.verification.head_checks import HeadCheck


class HeadServer:
    """Serves heads on their bases. All methods belong to the event loop, except where they say otherwise."""

    def __init__(self, table: ModelTable, recorder: Recorder) -> None:
        self._table = table
        self._recorder = recorder

    def serve(self, version: ModelVersion, loaded: LoadedHead) -> ServedHead:
        """A head on its base as the base is loaded now."""
        assert version.base is not None
        base = version.base.served
        assert isinstance(base, ServedModel)
        published = version.published
        golden = tuple if published is None else partial(read_golden_items, version.name, published.golden)
        return ServedHead(
            version.card,
            version.number,
            loaded.task,
            loaded.head,
            base,
            limits_of(version.options),
            self._recorder,
            golden,
            version.check_record,
        )

    def versions_on(self, served: ServedModel) -> list[ModelVersion]:
        """Versions whose network this is; none where it does not answer any more. From any thread."""
        version = self._table.version_of(served)
        return [] if version is None or version.served is not served else [*version.heads]

    def heads_on(self, served: ServedModel) -> list[ServedHead]:
        """Heads that answer from a loaded base's features now. From any thread."""
        return [head.served for head in self.versions_on(served) if isinstance(head.served, ServedHead)]

    def note_checks(self, served: ServedModel, runtime: Runtime, checks: Mapping[ServedHead, HeadCheck]) -> None:
        """Notes the checks of heads on the runtime that is about to replace their base's."""
        for head in self.versions_on(served):
            found = checks.get(head.served) if isinstance(head.served, ServedHead) else None
            if found is not None:
                head.head_checks[check_key(runtime)] = found

    def is_fp32_runtime(self, served: ServedModel) -> bool:
        """Whether a network is the fp32 runtime of a base, for heads. From any thread."""
        record = self._table.get(served.name)
        return record is not None and bool(record.primary.fp32_of)
