"""Say what is wrong with a dyna.yaml, or all that it means."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False)


@app.command()
def check(
    file: Annotated[Path, typer.Argument(help="The file to check.")] = Path("dyna.yaml"),
    json_: Annotated[bool, typer.Option("--json", help="Print JSON: the settings, or the problems.")] = False,
) -> None:
    """Say what is wrong with a dyna.yaml, or all that it means.

    Exit code 2 when something is wrong. No model is loaded or asked. What comes from an
    environment variable is shown by the variable's name.
    """
    from dyna_graph.config import ConfigError, DynaConfig

    try:
        config = DynaConfig.from_file(file)
        config.check()
    except ConfigError as error:
        if not json_:
            raise
        typer.echo(json.dumps({"ok": False, "problems": [vars(p) for p in error.problems]}, indent=1))
        raise typer.Exit(2) from None
    if json_:
        typer.echo(
            json.dumps({"ok": True, "config": config.to_dict(defaults=True, references=True)}, indent=1)
        )
        return
    typer.echo(f"# {file}: valid; these are all settings, defaults included")
    typer.echo(config.to_yaml(defaults=True), nl=False)
