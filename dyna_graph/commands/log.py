"""Look into an experience log."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Look into an experience log.")


@app.callback()
def _log() -> None:
    """Look into an experience log."""


@app.command()
def stats(
    folder: Annotated[Path, typer.Argument(help="Folder of the log, as `record` in dyna.yaml names it.")],
    json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Count what is in a log, per tool: calls, verdicts, and how well predictions matched reality."""
    from dyna_graph.commands._log_stats import log_stats, table

    figures = log_stats(folder)
    if json_:
        typer.echo(json.dumps(figures, indent=1))
        return
    from rich.console import Console

    console = Console()
    for part in table(figures):
        console.print(part)
