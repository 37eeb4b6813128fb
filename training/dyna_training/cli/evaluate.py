"""Measure a world model, an agent with and without one, or a policy's own foresight."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dyna_training.cli.command_line import command
from dyna_training.cli.evaluate_agent import agent
from dyna_training.cli.evaluate_injections import injections
from dyna_training.cli.evaluate_thinking import thinking

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails
    from rich.console import Console, RenderableType

    from dyna_training.evaluation.world_model import Progress

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Measure a world model, an agent with and without one, or a policy's own foresight.",
)

ADAPTER_HELP = (
    "Adapter to examine, as FOLDER or LABEL=FOLDER, or with a shipped name for the folder; repeat for several; labels "
    "that are numbers (525k) make a curve. LABEL= alone is the base model's own weights."
)


@app.callback()
def _eval() -> None:
    """Measure a world model, an agent with and without one, or a policy's own foresight."""


app.command("agent")(agent)
app.command("thinking")(thinking)
app.command("injections")(injections)


@app.command("world-model")
def world_model(
    adapter: Annotated[list[str] | None, typer.Option(help=ADAPTER_HELP)] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="Chat model to examine, prompted; repeatable.")
    ] = None,
    shots: Annotated[
        list[int] | None, typer.Option(help="Examples for chat models; repeatable; default 0.")
    ] = None,
    model_games: Annotated[int, typer.Option(help="Games for chat models; 0 is all.")] = 0,
    base: Annotated[str, typer.Option(help="Base model.")] = "smollm2",
    dtype: Annotated[str, typer.Option(help="bfloat16 or float32.")] = "bfloat16",
    device: Annotated[
        str | None, typer.Option(help="Torch device; default: a GPU where there is one.")
    ] = None,
    split: Annotated[
        str, typer.Option(help="dev_unseen, dev_seen, valid_seen, valid_unseen or train.")
    ] = "dev_unseen",
    games: Annotated[int, typer.Option(help="Number of games, spread over the task types; 0 is all.")] = 0,
    data: Annotated[
        list[Path] | None, typer.Option(help="Recorded episodes instead of games; repeatable.")
    ] = None,
    train: Annotated[
        list[Path] | None, typer.Option(help="Recorded episodes for templates and examples.")
    ] = None,
    context: Annotated[str, typer.Option(help="agent, privileged or both.")] = "both",
    untrained: Annotated[bool, typer.Option(help="Examine the bare base model too.")] = True,
    baselines: Annotated[bool, typer.Option(help="Examine copy, template and rules too.")] = True,
    generate: Annotated[
        bool, typer.Option(help="Generate where a token differs; without it only EM.")
    ] = True,
    generate_games: Annotated[int, typer.Option(help="Games in which to generate; 0 is all.")] = 0,
    batch: Annotated[int, typer.Option(help="Episodes examined together; more on a GPU.")] = 4,
    verify: Annotated[int, typer.Option(help="Steps at which teacher forcing is checked by generating.")] = 0,
    curve_unit: Annotated[str, typer.Option(help="What labels that are numbers count.")] = "target tokens",
    seed: Annotated[
        int | None, typer.Option(help="Seed of games and episodes; default: the frozen one.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("runs/eval-world-model"),
    json_: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Measure how well world models predict, given the real history.

    Exact match, success flag, reward and end, F1, surprise, returns and calibration, in agent and privileged
    context, beside the baselines copy and template and the untrained base model; intervals by game. Interrupted,
    the same command goes on where it stopped.
    """
    from dyna_training.evaluation import report
    from dyna_training.evaluation.lineup import WorldModelEvaluation
    from dyna_training.evaluation.world_model import evaluate

    with explained():
        given = {
            "adapters": [_labelled(a) for a in adapter or ()],
            "models": model or (),
            "shots": shots or (0,),
            "model_games": model_games,
            "base": base,
            "dtype": dtype,
            "device": device or default_device(),
            "split": split,
            "games": games,
            "data": data or (),
            "train": train or (),
            "contexts": ("agent", "privileged") if context == "both" else (context,),
            "untrained": untrained,
            "baselines": baselines,
            "generate": generate,
            "generate_games": generate_games,
            "batch": batch,
            "verify": verify,
            "curve_unit": curve_unit,
            "out": out,
        }
        settings = WorldModelEvaluation.model_validate(given if seed is None else given | {"seed": seed})
        with bars() as progress:
            results = evaluate(settings, progress)
        files = report.write(results, out, command())
    show(results, report.screen, files, json_)


def show(
    results: dict[str, Any],
    parts: Callable[[dict[str, Any]], Iterable[RenderableType]],
    files: Iterable[Path],
    as_json: bool,
) -> None:
    """Print the results of an evaluation: as JSON, or as tables and the names of the files."""
    if as_json:
        typer.echo(json.dumps(results, indent=1, ensure_ascii=False))
        return
    console = screen()
    for part in parts(results):
        console.print(part)
    console.print("Written: " + ", ".join(map(str, files)))


def folder_label(folder: Path) -> str:
    """Return what an adapter or a collection is called where no label is given: its folder, or its run's."""
    path = folder.resolve()
    return path.parent.name if path.name == "adapter" else path.name


def screen() -> Console:
    """Return a console for tables, wide where nobody knows how wide it is: in a file or a pipe."""
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=160)


def _labelled(text: str) -> tuple[str, Path | None]:
    from dyna_graph.models import find_adapter

    label, equals, folder = text.partition("=")
    if equals and not folder:
        return label, None
    path = find_adapter(folder if equals else text)
    return label if equals else folder_label(path), path


def default_device() -> str:
    """Return ``cuda`` where there is a GPU, else ``cpu``."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


@contextmanager
def bars() -> Iterator[Progress]:
    """Show one progress bar per thing that is being done, on stderr."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Bars(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=Console(stderr=True)) as bars:
        known = {}

        def update(what: str, done: int, of: int) -> None:
            if what not in known:
                known[what] = bars.add_task(what, total=of)
            bars.update(known[what], completed=done, total=of)

        yield update


@contextmanager
def explained() -> Iterator[None]:
    """Turn errors that explain themselves into one line."""
    from pydantic import ValidationError

    from dyna_graph.errors import DynaError

    try:
        yield
    except DynaError:
        raise
    except ValidationError as error:
        wrong = error.errors(include_url=False)
        raise DynaError("; ".join(map(_said, wrong))) from error
    except (ValueError, OSError) as error:
        if os.environ.get("DYNA_DEBUG"):
            raise
        raise DynaError(str(error)) from error


def _said(wrong: ErrorDetails) -> str:
    """Return what is wrong with an option, or with several of them together."""
    if not wrong["loc"]:
        return wrong["msg"].removeprefix("Value error, ")
    return f"--{str(wrong['loc'][0]).replace('_', '-')}: {wrong['msg']}"
