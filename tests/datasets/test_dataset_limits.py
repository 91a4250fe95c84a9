"""The limits of datasets follow the operator's settings."""

import pytest

from service.datasets.dataset_limits import MIB, limits_from_settings
from service.settings import SettingsError, load_settings

pytestmark = pytest.mark.usefixtures("clean_environment")


def test_limits_follow_settings(clean_environment: pytest.MonkeyPatch) -> None:
    clean_environment.setenv("ZOO_MAX_DATASET_MIB", "7")
    clean_environment.setenv("ZOO_MAX_DATASET_FILES", "8")
    clean_environment.setenv("ZOO_DATASETS_QUOTA_MIB", "9")
    clean_environment.setenv("ZOO_DATASET_MEMORY_MIB", "128")
    limits = limits_from_settings(load_settings())
    assert (limits.dataset_bytes, limits.files, limits.total_bytes, limits.memory_mib) == (7 * MIB, 8, 9 * MIB, 128)


def test_server_by_default_has_no_roots() -> None:
    assert load_settings().dataset_roots == ()


def test_roots_setting_separates_uris_by_commas(clean_environment: pytest.MonkeyPatch) -> None:
    clean_environment.setenv("ZOO_DATASET_ROOTS", "file:///data, s3://bucket/folder")
    assert load_settings().dataset_roots == ("file:///data", "s3://bucket/folder")


@pytest.mark.parametrize("root", ["/data", "file://data", "s3://", "http://host/", "memory://", "file:///ok,../up"])
def test_root_that_is_no_uri_ends_the_start(clean_environment: pytest.MonkeyPatch, root: str) -> None:
    clean_environment.setenv("ZOO_DATASET_ROOTS", root)
    with pytest.raises(SettingsError, match="expected URIs such as file:///data"):
        load_settings()
