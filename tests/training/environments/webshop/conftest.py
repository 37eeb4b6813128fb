"""The shop of the test data, and a small one."""

from __future__ import annotations

from pathlib import Path

import pytest

from dyna_training.environments.webshop import Shop, open_shop
from tests.data import webshop_data
from tests.training.environments.webshop.shops import folder_of, record


@pytest.fixture(scope="module")
def shop() -> Shop:
    return open_shop(webshop_data())


@pytest.fixture
def small(tmp_path: Path) -> Shop:
    other = record(
        "B000000002",
        name="Teapot of Glass",
        query="teapots",
        category="garden",
        pricing=None,
        full_description="Tea.",
        small_description="Glass",
        customization_options="",
    )
    return open_shop(folder_of(tmp_path, record(), other, record(), record("nan")))
