"""Write the JSON schema of dyna.yaml, by which editors complete and check it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def schema(
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="File to write; the screen when left out.")
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="A table of all keys instead.")] = False,
) -> None:
    """Write the JSON schema of dyna.yaml, by which editors complete and check it."""
    from dyna_graph.config import schema_text

    text = schema_text()
    if markdown:
        from dyna_graph.config.reference import reference_text

        text = reference_text()
    if out is None:
        typer.echo(text, nl=False)
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text, encoding="utf-8")
    typer.echo(f"wrote {out}")
