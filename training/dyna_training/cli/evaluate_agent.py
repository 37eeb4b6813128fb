"""``dyna eval agent``: the same policy with and without the world model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

STYLES = {"holds": "bold green", "open": "bold yellow", "fails": "bold red"}


def agent(
    policy: Annotated[str, typer.Option(help="Adapter of the policy: a folder, or a shipped name.")] = (
        "alfworld-policy"
    ),
    world_model: Annotated[
        str, typer.Option(help="Adapter of the world model: a folder, or a shipped name.")
    ] = ("alfworld-world-model"),
    split: Annotated[
        str, typer.Option(help="dev_unseen, dev_seen, valid_seen, valid_unseen or train.")
    ] = "dev_unseen",
    games: Annotated[int, typer.Option(help="Number of games, spread over the split.")] = 70,
    arms: Annotated[
        str, typer.Option(help="Arms, separated by commas; default: all, oracle and controls included.")
    ] = "",
    candidates: Annotated[int, typer.Option("-k", "--candidates", help="Candidates per step.")] = 4,
    resample: Annotated[
        int,
        typer.Option(
            help="So many are drawn anew where all candidates of a step are predicted to have no effect (or, by the "
            "rules, known to, or loops). 0: the best of the first ones runs."
        ),
    ] = 0,
    temperature: Annotated[float, typer.Option(help="Temperature of the candidates.")] = 1.0,
    horizon: Annotated[int, typer.Option(help="Steps that are imagined.")] = 1,
    max_steps: Annotated[int, typer.Option(help="Steps per game.")] = 50,
    concurrency: Annotated[int, typer.Option(help="Games played at once.")] = 16,
    memory: Annotated[
        str,
        typer.Option(help="What the policy reads of its earlier turns, as trained: thoughts, or actions."),
    ] = "thoughts",
    base: Annotated[str, typer.Option(help="Base model.")] = "smollm2",
    dtype: Annotated[str, typer.Option(help="bfloat16 or float32.")] = "bfloat16",
    device: Annotated[
        str | None, typer.Option(help="Torch device; default: a GPU where there is one.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the sampling.")] = 0,
    training_seed: Annotated[int, typer.Option(help="Training seed of the adapters, for the record.")] = 0,
    equal_tokens: Annotated[
        bool,
        typer.Option(
            "--equal-tokens",
            help="Play log-probability, majority and rules once more, with so many candidates that a step costs "
            "at least the trained arm's tokens.",
        ),
    ] = False,
    pool: Annotated[
        list[Path] | None,
        typer.Option(
            help="Results of the same evaluation with another training seed, counted in; repeatable."
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("runs/eval-agent"),
    record: Annotated[
        Path | None,
        typer.Option(
            help="Also write what the demo shows of it; evaluation.json beside the shipped adapters is read."
        ),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Measure what a world model is worth to an agent.

    The same policy plays the same games greedily, choosing among k candidates by the world model, and by
    controls that do without one; paired by game, with intervals. The verdict comes first: whether the world model
    beats the best control. Interrupted, the same command goes on where it stopped; finished, it only reports.
    """
    from dyna_graph.models import find_adapter
    from dyna_training.cli.command_line import command
    from dyna_training.cli.evaluate import bars, default_device, explained
    from dyna_training.evaluation import agent_report
    from dyna_training.evaluation.agent import ARMS, AgentEvaluation
    from dyna_training.evaluation.agent_run import run

    with explained():
        settings = AgentEvaluation.model_validate(
            {
                "policy": find_adapter(policy),
                "world_model": find_adapter(world_model),
                "base": base,
                "dtype": dtype,
                "device": device or default_device(),
                "split": split,
                "games": games,
                "arms": tuple(a.strip() for a in arms.split(",") if a.strip()) or ARMS,
                "candidates": candidates,
                "resample": resample,
                "temperature": temperature,
                "horizon": horizon,
                "max_steps": max_steps,
                "concurrency": concurrency,
                "seed": seed,
                "training_seed": training_seed,
                "memory": memory,
                "out": out,
            }
        )
        with bars() as progress:
            results, outcomes = run(
                settings, command(), equal_tokens=equal_tokens, pool=pool or (), progress=progress
            )
        files = agent_report.write(results, outcomes, out)
        if record is not None:
            agent_report.record(results, record, agent_report.plain_command(settings, equal_tokens))
            files.append(record)
    if json_:
        typer.echo(json.dumps(results, indent=1, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for verdict in results["verdicts"]:
        console.print(verdict["sentence"], style=STYLES[verdict["claim"]], highlight=False)
    for title, head, rows in agent_report.tables(results):
        table = Table(title=title, title_justify="left")
        for name in head:
            table.add_column(name, justify="left" if name in {"arm", "task type"} else "right")
        for row in rows:
            table.add_row(*row)
        console.print(table)
    console.print("Written: " + ", ".join(map(str, files)))
