"""Show how far the world model can be believed, per tool, and which tools to enforce."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

app = typer.Typer(add_completion=False)


@app.command()
def trust(
    log: Annotated[Path, typer.Argument(help="Folder of the log, as `record` in dyna.yaml names it.")],
    tool: Annotated[
        list[str] | None, typer.Option(help="Name or glob of a tool; may be repeated. Left out: all.")
    ] = None,
    metric: Annotated[
        Literal["exact", "f1", "outcome", "holds"],
        typer.Option(help="What decides: exact text, token F1, outcome, or `holds` for thinking."),
    ] = "exact",
    minimum_count: Annotated[int, typer.Option(min=1, help="Executed calls that a tool needs.")] = 20,
    lower_bound: Annotated[
        float, typer.Option(min=0, max=1, help="What the lower confidence bound must reach, in [0, 1].")
    ] = 0.8,
    confidence: Annotated[float, typer.Option(help="Confidence of the one-sided bound, in (0, 1).")] = 0.95,
    untrusted: Annotated[
        Literal["escalate", "approve", "reject"],
        typer.Option(help="In the proposal: what happens to a call when its tool loses trust again."),
    ] = "escalate",
    model: Annotated[
        str | None, typer.Option(help="World model that is measured. Left out: the one that predicted last.")
    ] = None,
    days: Annotated[float | None, typer.Option(min=0, help="Only the last so many days.")] = None,
    config: Annotated[
        Path | None, typer.Option(help="Present dyna.yaml; the proposal keeps its critics.")
    ] = None,
    yaml: Annotated[bool, typer.Option("--yaml", help="Print the proposal alone, to be pasted.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Draw a picture into this file, such as t.png.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show how far the world model can be believed, per tool, and which tools to enforce.

    Counted are calls that really ran and whose outcome had been predicted, as the trust gate
    counts them. A tool is proposed once the lower confidence bound reaches the threshold, over
    enough calls, and still does when calls of one trajectory are treated as dependent.

      dyna trust experience
      dyna trust experience --tool "refund_*" --metric outcome --lower-bound 0.9
      dyna trust experience --config dyna.yaml --yaml
    """
    from dyna_graph.commands._trust_view import tables
    from dyna_graph.config import DynaConfig
    from dyna_graph.config.critics import TrustSettings
    from dyna_graph.errors import ConfigError, Problem
    from dyna_graph.reliability import measure, propose, read_evidence

    if not 0 < confidence < 1:
        raise ConfigError([Problem(f"--confidence must lie in (0, 1), got {confidence}")])
    gate = TrustSettings(
        minimum_count=minimum_count,
        lower_bound=lower_bound,
        metric=metric,
        confidence=confidence,
        untrusted=untrusted,
    )
    present = None if config is None else DynaConfig.from_file(config)
    evidence = read_evidence(log, tools=tool or ["*"], model=model, days=days)
    report = measure(evidence, gate)
    proposal = propose(report, present)
    if plot is not None:
        from dyna_graph.reliability.plots import draw_trust

        draw_trust(report, evidence, plot)
        typer.echo(f"drawn: {plot}", err=True)
    if json_:
        import json

        typer.echo(json.dumps({**report.model_dump(mode="json"), "proposal": proposal}, indent=1))
    elif yaml:
        typer.echo(proposal, nl=False)
    else:
        from rich.console import Console

        console = Console(highlight=False)
        for part in tables(report):
            console.print(part, markup=False) if isinstance(part, str) else console.print(part)
        typer.echo(f"\n{proposal}", nl=False)
