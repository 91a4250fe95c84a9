"""The package modeldata of R (MIT), with tables for examples of models, as Debian ships it."""

from collections.abc import Mapping

from model_zoo.cards.weight_source import SourceFile
from model_zoo.training_recipes.data.r_tables import Column, read_table
from model_zoo.training_recipes.recipe import DataPackage

__all__ = ["MODEL_DATA", "model_data"]

MODEL_DATA = DataPackage(
    package="r-cran-modeldata",
    version="1.1.0-1",
    artifact="r-cran-modeldata_1.1.0-1_all.deb",
    artifact_sha256="66c2e08bb4bf695d972b1e72ea44d5af9ada3c42841793d3871017f7b896bf95",
    artifact_bytes=4_253_384,
    files={
        "index": SourceFile(
            path="usr/lib/R/site-library/modeldata/data/Rdata.rdx",
            sha256="c23e1be60f2730fb526ce158a307e154c91a953169fcb8e73350c4e032e14538",
            bytes=780,
        ),
        "database": SourceFile(
            path="usr/lib/R/site-library/modeldata/data/Rdata.rdb",
            sha256="2ecef5e8da0f782ae4e3f65d928fe769702accffd8981cc358a3097f6736f58f",
            bytes=4_140_200,
        ),
    },
)


def model_data(files: Mapping[str, bytes], table: str) -> Mapping[str, Column]:
    """A table of the package; see ``read_table``."""
    return read_table(files["index"], files["database"], table)
