"""What an operator sets is what holds."""

import pytest

from service.datasets.dataset_limits import MIB, limits_from_settings
from service.settings import SettingsError, load_settings

pytestmark = pytest.mark.usefixtures("clean_environment")


def test_settings_become_limits(clean_environment: pytest.MonkeyPatch) -> None:
    clean_environment.setenv("ZOO_MAX_DATASET_MIB", "7")
    clean_environment.setenv("ZOO_MAX_DATASET_FILES", "8")
    clean_environment.setenv("ZOO_DATASETS_QUOTA_MIB", "9")
    clean_environment.setenv("ZOO_DATASET_MEMORY_MIB", "128")
    limits = limits_from_settings(load_settings())
    assert (limits.dataset_bytes, limits.files, limits.total_bytes, limits.memory_mib) == (7 * MIB, 8, 9 * MIB, 128)


def test_by_default_the_server_reads_nothing_itself() -> None:
    assert load_settings().dataset_roots == ()


def test_roots_are_uris_separated_by_commas(clean_environment: pytest.MonkeyPatch) -> None:
    clean_environment.setenv("ZOO_DATASET_ROOTS", "file:///data, s3://bucket/folder")
    assert load_settings().dataset_roots == ("file:///data", "s3://bucket/folder")


@pytest.mark.parametrize("root", ["/data", "file://data", "s3://", "http://host/", "memory://", "file:///ok,../up"])
def test_a_root_that_is_none_ends_the_start(clean_environment: pytest.MonkeyPatch, root: str) -> None:
    clean_environment.setenv("ZOO_DATASET_ROOTS", root)
    with pytest.raises(SettingsError, match="expected URIs such as file:///data"):
        load_settings()
