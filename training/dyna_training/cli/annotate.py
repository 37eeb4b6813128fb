"""Write notes on recorded turns for training: differences, critiques, judgements."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from dyna_training.cli.command_line import command

if TYPE_CHECKING:
    from collections.abc import Callable

    from dyna_training.annotate.annotating import Progress

app = typer.Typer(add_completion=False)
SHOWN = 5
"""So many problems are printed; the manifest has all."""


@app.command()
def annotate(
    data: Annotated[list[Path], typer.Argument(help="Folders or files of trajectories.")],
    objective: Annotated[
        Literal["difference", "critique", "judgement"],
        typer.Option(
            help="difference: what each action changed. critique: a sentence about the simulation in the "
            "thinking, and its place. judgement: only whether the simulation came true."
        ),
    ],
    by: Annotated[
        str,
        typer.Option(
            help="grounded: by the environment, without a model. Else a chat model: provider:model, "
            "local:smollm2+ADAPTER."
        ),
    ],
    out: Annotated[
        Path, typer.Option(help="Folder for the annotated trajectories; an interrupted one is continued.")
    ],
    temperature: Annotated[float | None, typer.Option(min=0.0, help="Temperature of the chat model.")] = None,
    attempts: Annotated[
        int,
        typer.Option(min=1, help="How often a chat model is asked at most when it answers out of format."),
    ] = 3,
    concurrency: Annotated[
        int, typer.Option(min=1, help="How many questions to a chat model are open at a time.")
    ] = 8,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print the manifest as JSON.")] = False,
) -> None:
    """Write notes on recorded turns for training: differences, critiques, judgements.

    The trajectories go to a new folder with their notes. A turn that cannot be annotated is
    reported in manifest.json with the reason, and the rest goes on. The same command again goes
    on where the last one ended. Exit code 1: not everything could be annotated.

      dyna annotate data/own --objective critique --by grounded --out data/critique
      dyna annotate data/own --objective difference --by openai:gpt-5-mini --out data/difference
      dyna annotate data/own --objective judgement --by vllm:my-model --out data/judged
    """
    from dyna_graph.errors import DynaError
    from dyna_nodes.local.base import LocalModelError
    from dyna_training.annotate.annotating import annotate as run
    from dyna_training.annotate.folder import AnnotateError, AnnotateSettings

    settings = AnnotateSettings(
        data=tuple(data),
        out=out,
        objective=objective,
        by=by,
        temperature=temperature,
        attempts=attempts,
        concurrency=concurrency,
    )
    with _progress(quiet) as on_progress:
        try:
            manifest = run(settings, command=command(), on_progress=on_progress)
        except (AnnotateError, LocalModelError) as error:
            raise DynaError(str(error)) from error
        except KeyboardInterrupt:
            typer.echo(
                f"Interrupted. What is annotated lies in {out}; the same command goes on from there.",
                err=True,
            )
            raise typer.Exit(130) from None
    if json_:
        typer.echo(json.dumps(manifest, indent=1))
    else:
        _summary(manifest, out)
    if not manifest["complete"]:
        raise typer.Exit(1)


@contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[Progress], None]]:
    """Show a bar with time left; a trajectory that fails is named above it."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bar

    bar = Bar(
        TextColumn("annotating"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[turns]} turns, {task.fields[problems]} problems"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=Console(stderr=True, highlight=False),
        disable=quiet,
        transient=True,
    )
    task = bar.add_task("annotating", total=None, turns=0, problems=0)

    def show(progress: Progress) -> None:
        bar.update(
            task,
            completed=progress.done,
            total=progress.total,
            turns=f"{progress.turns:,}",
            problems=f"{progress.problems:,}",
        )
        if progress.failed and not quiet:
            bar.console.print(f"not annotated: {progress.failed}", markup=False)

    with bar:
        yield show


def _summary(manifest: dict[str, Any], out: Path) -> None:
    from rich.console import Console

    counts = manifest["counts"]
    console = Console(highlight=False)
    lines = [
        f"{manifest['settings']['objective']} by {manifest['annotator']}: {counts['annotated']:,} of "
        f"{counts['turns']:,} turns in {counts['trajectories']:,} trajectories, {counts['problems']:,} problems"
    ]
    if "simulation_present" in counts:
        correct, present = counts.get("simulation_correct", 0), counts["simulation_present"]
        lines.append(f"{present:,} turns simulate; {correct:,} of these simulations came true")
    lines += [f"{count:,} turns: {kind}" for kind, count in manifest["problems_by_kind"].items()]
    lines += [f"not annotated: {f['trajectory']}: {f['reason']}" for f in manifest["failed"][:SHOWN]]
    lines += [f"not read: {problem}" for problem in manifest["unreadable"][:SHOWN]]
    if manifest["problems"] or manifest["failed"] or manifest["unreadable"]:
        lines.append(f"each of them: {out / 'manifest.json'}")
    console.print("\n".join(lines), markup=False)


if __name__ == "__main__":
    app()
