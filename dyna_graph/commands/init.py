"""Write a commented starter dyna.yaml, and its schema for editors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False)


@app.command()
def init(
    file: Annotated[Path, typer.Argument(help="The file to write.")] = Path("dyna.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> None:
    """Write a commented starter dyna.yaml, and its schema for editors."""
    from dyna_graph.config import SCHEMA_FILE, schema_line, schema_text
    from dyna_graph.config.starter import STARTER

    if file.exists() and not force:
        raise typer.BadParameter(f"{file} exists; --force replaces it, or name another file")
    file.parent.mkdir(parents=True, exist_ok=True)
    schema = file.parent / SCHEMA_FILE
    schema.write_text(schema_text(), encoding="utf-8")
    file.write_text(schema_line() + STARTER, encoding="utf-8")
    typer.echo(f"wrote {file} and {schema}\nnext: edit it, then `dyna check {file}`")
