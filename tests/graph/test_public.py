"""What the package offers by name."""

from __future__ import annotations

import subprocess
import sys

import pytest

import dyna_graph


@pytest.mark.parametrize("name", dyna_graph.__all__)
def test_every_public_name_leads_somewhere(name: str) -> None:
    assert getattr(dyna_graph, name).__name__ == name


def test_names_and_homes_are_the_same() -> None:
    assert sorted(dyna_graph._HOMES) == dyna_graph.__all__
    assert set(dyna_graph.__all__) <= set(dir(dyna_graph))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        dyna_graph.nothing  # noqa: B018


def test_importing_the_package_imports_nothing_heavy() -> None:
    program = "import sys, dyna_graph; print({'torch', 'langgraph', 'langchain_core'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert out == "set()\n"
