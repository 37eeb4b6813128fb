"""Choose a threshold of trust for a wanted precision, and check it on newer calls."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from dyna_graph.config.critics import TrustSettings
    from dyna_graph.reliability import Calibration, Evidence

app = typer.Typer(add_completion=False)


@app.command()
def calibrate(
    log: Annotated[Path, typer.Argument(help="Folder of the log, as `record` in dyna.yaml names it.")],
    precision: Annotated[
        float, typer.Option(help="Wished share of the believed predictions that come true, in (0, 1).")
    ] = 0.9,
    threshold: Annotated[
        Literal["lower_bound", "minimum_confidence"],
        typer.Option(help="lower_bound: of the trust gate. minimum_confidence: of the critic `outcome`."),
    ] = "lower_bound",
    tool: Annotated[
        list[str] | None, typer.Option(help="Name or glob of a tool; may be repeated. Left out: all.")
    ] = None,
    metric: Annotated[
        Literal["exact", "f1", "outcome", "holds"],
        typer.Option(help="With lower_bound: what is compared with reality."),
    ] = "exact",
    minimum_count: Annotated[int, typer.Option(min=1, help="Executed calls that a tool needs.")] = 20,
    confidence: Annotated[float, typer.Option(help="Confidence of the one-sided bounds, in (0, 1).")] = 0.95,
    held_out: Annotated[
        float, typer.Option(help="Share of the trajectories, the newest, that only check, in (0, 1).")
    ] = 0.5,
    model: Annotated[
        str | None, typer.Option(help="World model that is measured. Left out: the one that predicted last.")
    ] = None,
    days: Annotated[float | None, typer.Option(min=0, help="Only the last so many days.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw precision and coverage into this file.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Choose a threshold of trust for a wanted precision, and check it on newer calls.

    The threshold lets the most calls through that the precision allows on the older trajectories,
    less a margin. It counts only when the newer ones confirm it. Exit code 1 when they do not, or
    when the data are too few to tell.

      dyna calibrate experience --precision 0.9
      dyna calibrate experience --precision 0.95 --threshold minimum_confidence --tool "refund_*"
    """
    from dyna_graph.config.critics import TrustSettings
    from dyna_graph.errors import ConfigError, Problem
    from dyna_graph.reliability import calibrate as choose
    from dyna_graph.reliability import read_evidence

    shares = {"--precision": precision, "--confidence": confidence, "--held-out": held_out}
    wrong = [
        Problem(f"{name} must lie in (0, 1), got {share}")
        for name, share in shares.items()
        if not 0 < share < 1
    ]
    if wrong:
        raise ConfigError(wrong)
    gate = TrustSettings(minimum_count=minimum_count, metric=metric, confidence=confidence)
    evidence = read_evidence(log, tools=tool or ["*"], model=model, days=days)
    found = choose(evidence, precision, threshold, gate, held_out=held_out)
    if plot is not None:
        from dyna_graph.reliability.plots import draw_calibration

        draw_calibration(found, plot)
        typer.echo(f"drawn: {plot}", err=True)
    proposal = _proposal(found, evidence, gate)
    if json_:
        import json

        typer.echo(json.dumps({**found.model_dump(mode="json"), "proposal": proposal}, indent=1))
    else:
        _show(found, evidence)
        if proposal is not None:
            typer.echo(f"\n{proposal}", nl=False)
    if found.status != "confirmed":
        raise typer.Exit(1)


def _proposal(found: Calibration, evidence: Evidence, gate: TrustSettings) -> str | None:
    """Return the YAML with a confirmed threshold."""
    from dyna_graph.config.source import write_yaml
    from dyna_graph.reliability import measure, propose

    if found.status != "confirmed":
        return None
    if found.key == "lower_bound":
        return propose(measure(evidence, gate.model_copy(update={"lower_bound": found.threshold})))
    tools = sorted({c.tool for c in evidence.calls if c.success is not None and c.confidence is not None})
    critic = {"critic": "outcome", "tools": tools, "minimum_confidence": found.threshold}
    return write_yaml({"mode": "enforce", "critic": [critic]})


def _show(found: Calibration, evidence: Evidence) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    chosen = "none" if found.threshold is None else f"{found.threshold:.2f}"
    console.print(
        f"{evidence.folder}: predictions of {evidence.model or 'no world model'}, {found.key} for a precision of "
        f"{found.wished:.2f}: {chosen}, {found.status}",
        markup=False,
    )
    if found.chosen_on is not None and found.held_out is not None:
        table = Table("trajectories", "calls", "believed", "coverage", "precision", "interval")
        for name, part in (("older, chosen on", found.chosen_on), ("newer, held out", found.held_out)):
            value = "" if part.precision is None else f"{part.precision:.2f}"
            table.add_row(
                name,
                str(part.calls),
                f"{part.believed} in {part.trajectories}",
                f"{part.coverage:.0%}",
                value,
                f"{part.low:.2f} … {part.high:.2f}",
            )
        console.print(table)
    console.print(found.why, markup=False)
