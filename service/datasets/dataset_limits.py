"""Limits on datasets. The server sets them once and passes them to the child process that reads users' files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from service.settings import Settings

MIB = 1 << 20


class DatasetLimits(BaseModel):
    """Limits on one dataset, and on all of them together."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset_bytes: int = Field(default=4096 * MIB, gt=0)
    """Of one dataset, as uploaded and again as unpacked."""
    total_bytes: int = Field(default=0, ge=0)
    """Of all datasets and unfinished uploads together; 0 sets no limit."""
    files: int = Field(default=200_000, gt=0)
    """In one archive or folder."""
    rows: int = Field(default=5_000_000, gt=0)
    """In one table."""
    file_bytes: int = Field(default=64 * MIB, gt=0)
    """Of one picture, sound or text file; a larger one is skipped."""
    pixels: int = Field(default=50_000_000, gt=0)
    """Of one picture; a larger one is skipped before it is decoded."""
    audio_seconds: float = Field(default=600.0, gt=0)
    """Of one sound; a longer one is skipped."""
    text_bytes: int = Field(default=MIB, gt=0)
    """Of one text or cell; the row of a longer one is skipped."""
    columns: int = Field(default=2_000, gt=0)
    """Of one table."""
    classes: int = Field(default=10_000, gt=1)
    name_characters: int = Field(default=200, gt=0)
    """Of a class or column."""
    ratio: int = Field(default=200, gt=1)
    """Unpacked bytes for each packed byte; a larger archive above this ratio is refused as a decompression bomb."""
    skipped_shown: int = Field(default=100, ge=0)
    """Skipped examples that a report lists; all are counted."""
    memory_mib: int = Field(default=4096, ge=0)
    """Private memory of the child process that reads a dataset; 0 sets no limit."""
    cpu_seconds: int = Field(default=3600, ge=0)
    """Processor time of that child process; 0 sets no limit."""


@dataclass(frozen=True, slots=True)
class OwnerQuota:
    """What all datasets and running uploads of one owner may take; 0 sets no limit."""

    datasets: int = 0
    total_bytes: int = 0


def limits_from_settings(settings: Settings) -> DatasetLimits:
    """The limits that an operator set."""
    return DatasetLimits(
        dataset_bytes=settings.max_dataset_mib * MIB,
        total_bytes=settings.datasets_quota_mib * MIB,
        files=settings.max_dataset_files,
        memory_mib=settings.dataset_memory_mib,
    )
