"""Write the JSON schema of dyna.yaml, for editors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False)


@app.command()
def schema(
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="File to write; the screen when left out.")
    ] = None,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Tables of all keys instead; a page keeps what it says before.")
    ] = False,
) -> None:
    """Write the JSON schema of dyna.yaml, for editors."""
    from dyna_graph.config import schema_text
    from dyna_graph.config.reference import in_page, reference_text

    text = reference_text() if markdown else schema_text()
    if out is None:
        typer.echo(text, nl=False)
        return
    if markdown and out.is_file():
        text = in_page(out.read_text(encoding="utf-8"), text)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text, encoding="utf-8")
    typer.echo(f"wrote {out}")
