"""What the tools of these tests have done is forgotten between them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.graph.judged import DONE


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    DONE.clear()
    yield
    DONE.clear()
