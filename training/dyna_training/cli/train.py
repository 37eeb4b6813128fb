"""Train a world model or a policy from recorded episodes."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from dyna_training.recipes.settings import SftSettings

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Train a world model or a policy from recorded episodes."
)

Config = Annotated[
    str | None, typer.Option(help="Recipe file (YAML), or the name of a shipped one; see `dyna train list`.")
]
Data = Annotated[
    list[Path] | None,
    typer.Option(help="Trajectory files, logs, Parquet, or folders of them; repeatable."),
]
Out = Annotated[Path | None, typer.Option(help="Folder of the run.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", help="A setting as key=value; repeatable; see --show.")
]
Show = Annotated[bool, typer.Option("--show", help="Print all settings as a recipe file, and stop.")]
Json = Annotated[bool, typer.Option("--json", help="Print the metrics as JSON.")]
Processes = Annotated[
    int,
    typer.Option(
        min=1,
        help="Processes of this machine that train together: one for each GPU, or for a share of the cores. "
        "`accumulate` counts for each; with two, half of it makes the same updates.",
    ),
]


@app.callback()
def _train() -> None:
    """Train a world model or a policy from recorded episodes.

    A run leaves a folder that explains itself: adapter, model card, metrics, loss.png,
    TensorBoard files, exact configuration. An interrupted run goes on with the same command.

    On several GPUs, or a process on each core, --processes; on several machines, or with a
    model in parts, the same command under accelerate:

      accelerate launch -m dyna_training.cli.train world-model --data data/train --out runs/wm

    Configurations for that, also for models in parts: dyna train launcher
    """


@app.command("world-model")
def world_model(
    config: Config = None,
    data: Data = None,
    out: Out = None,
    set_: Set = None,
    show: Show = False,
    processes: Processes = 1,
    json_: Json = False,
) -> None:
    """Train a world model: next observation, reward, success and end, and return-to-go.

    dyna collect --split train --games 400 --out data/train
    dyna train world-model --data data/train --out runs/world-model
    """
    _run("world-model", config, data, out, set_, show, processes, json_)


@app.command()
def policy(
    config: Config = None,
    data: Data = None,
    out: Out = None,
    set_: Set = None,
    show: Show = False,
    processes: Processes = 1,
    json_: Json = False,
) -> None:
    """Train a policy: imitate what the expert thought and did.

    dyna collect --split train --games 400 --behaviours expert,noisy --out data/expert
    dyna train policy --data data/expert --out runs/policy
    """
    _run("policy", config, data, out, set_, show, processes, json_)


@app.command()
def ddt(
    config: Config = None,
    data: Data = None,
    out: Out = None,
    set_: Set = None,
    show: Show = False,
    processes: Processes = 1,
    json_: Json = False,
) -> None:
    """Train a policy as a world model: DDT's first stage, in the policy's own conversation.

    dyna annotate data/own --objective critique --by grounded --out data/own-critique
    dyna train ddt --config ddt-critique --set adapter=runs/dit/adapter --data data/own-critique
    """
    _run("ddt", config, data, out, set_, show, processes, json_)


@app.command()
def launcher(
    name: Annotated[str | None, typer.Argument(help="Name of the configuration; none lists them.")] = None,
) -> None:
    """Print where a shipped configuration for `accelerate launch` lies.

    dyna train launcher fsdp
    accelerate launch --config_file FILE --num_processes 4 -m dyna_training.cli.train policy --out runs/policy
    """
    from dyna_training.accelerate import find_launcher, launchers
    from dyna_training.shipped import told

    if name is not None:
        typer.echo(find_launcher(name))
    else:
        typer.echo("\n".join(told(launchers())))


@app.command("list")
def list_() -> None:
    """List the shipped recipe files."""
    from dyna_training.recipes.files import shipped_recipes
    from dyna_training.shipped import told

    typer.echo("\n".join(told(shipped_recipes())))


def _run(
    name: str,
    config: str | None,
    data: list[Path] | None,
    out: Path | None,
    given: list[str] | None,
    show: bool,
    processes: int,
    json_: bool,
) -> None:
    from dyna_training.recipes import settings_of
    from dyna_training.recipes.files import read_settings, show_settings

    kind = settings_of(name)
    flags = {"data": [str(path) for path in data] if data else None, "out": None if out is None else str(out)}
    if show:
        from dyna_graph.errors import ConfigError

        try:
            values = read_settings(name, kind, config, given or (), flags).model_dump(
                mode="json", exclude_unset=True
            )
        except ConfigError as error:
            if not all("is missing" in p.message for p in error.problems):
                raise
            values = {key: value for key, value in flags.items() if value is not None}
        typer.echo(show_settings(name, kind, values), nl=False)
        return
    settings = read_settings(name, kind, config, given or (), flags)
    if processes > 1:
        words = ["train", name, *_words(config=config, data=data, out=out, set=given)]
        raise typer.Exit(_together([*words, *["--json"] * json_], settings, processes))
    metrics = _train_it(name, settings)
    if _first_process():
        _tell(metrics, settings, json_)


def _together(words: list[str], settings: SftSettings, processes: int) -> int:
    """Let several processes run a command; what each of them would complain about is said once, before."""
    from dyna_graph.errors import DynaError
    from dyna_graph.plugins import why_not_loaded
    from dyna_training.data import trajectory_files
    from dyna_training.together import run_together

    try:
        trajectory_files(settings.data)
        return run_together(words, processes)
    except FileNotFoundError as error:
        raise DynaError(str(error)) from error
    except ImportError as error:
        raise DynaError(f"training cannot start: {why_not_loaded(error)}") from error


def _words(**options: object) -> Iterator[str]:
    """Yield options as they are typed; a list gives one several times."""
    for name, value in options.items():
        for each in value if isinstance(value, list) else [value]:
            if each is not None:
                yield from (f"--{name}", str(each))


def _first_process() -> bool:
    """Tell whether this is the process that speaks, of several that train together."""
    return int(os.environ.get("RANK", "0")) == 0


def _train_it(name: str, settings: SftSettings) -> dict[str, Any]:
    from dyna_graph.errors import DynaError
    from dyna_graph.plugins import why_not_loaded
    from dyna_training.data import trajectory_files
    from dyna_training.recipes import train_of

    try:
        trajectory_files(settings.data)
        train = train_of(name)
    except FileNotFoundError as error:
        raise DynaError(str(error)) from error
    except ImportError as error:
        raise DynaError(f"training cannot start: {why_not_loaded(error)}") from error
    try:
        with (
            _alone(settings.out),
            contextlib.redirect_stdout(sys.stderr),  # the trainer prints its logs; only results go to stdout
        ):
            return train(settings)
    except KeyboardInterrupt as stop:
        from dyna_training.recipes.common import last_checkpoint

        found = last_checkpoint(settings.out)
        kept = (
            f"{found} is kept, and the same command goes on from it" if found else "nothing was trained yet"
        )
        if _first_process():
            typer.echo(f"Interrupted{f', {stop}' if str(stop) else ''}: {kept}.", err=True)
        raise typer.Exit(130) from None
    except (ValueError, OSError) as error:  # no data, no base, another run's folder: each says what to do
        if os.environ.get("DYNA_DEBUG"):
            raise
        raise DynaError(str(error)) from error


@contextlib.contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Hold the folder of a run against other runs; of several processes that train together, the first does.

    Raises:
        ValueError: Somebody else trains there.
    """
    from dyna_training.held import Held, held

    if not _first_process():
        yield
        return
    out.mkdir(parents=True, exist_ok=True)
    try:
        with held(out / ".lock", wait=False):
            yield
    except Held as error:
        raise ValueError(
            f"another training is at work in {out} (process {error.by}): let it end, or choose another folder with "
            "--out"
        ) from None


def _tell(metrics: dict[str, Any], settings: SftSettings, json_: bool) -> None:
    import json

    if json_:
        typer.echo(json.dumps(metrics, indent=1))
        return
    from rich.console import Console
    from rich.table import Table

    folder, method = settings.out, settings.method
    table = Table(title=f"{metrics['recipe']} in {folder}", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    seconds = max(metrics["seconds"], 0.1)
    rows = {
        "loss (first to last update, mean)": f"{metrics['loss']:.4f}",
        "loss (end)": f"{metrics['final_loss']:.4f}",
        "updates": f"{metrics['updates']:,}",
        "rows": f"{metrics['examples']:,}",
        "tokens": f"{metrics['tokens']:,}, of them {metrics['target_tokens']:,} targets",
        "target tokens seen": f"{metrics['target_tokens_seen']:,}",
        **{
            objective: f"{figures['examples']:,} turns, {figures['target_tokens']:,} target tokens"
            for objective, figures in metrics.get("objectives", {}).items()
        },
        **{f"not used: {reason}": f"{number:,}" for reason, number in metrics["not_used"].items()},
        "time": f"{seconds / 60:.1f} min on {metrics['hardware']}",
        "result": str(folder / ("adapter" if method == "lora" else "model")),
    }
    for name, value in rows.items():
        table.add_row(name, value)
    Console(highlight=False).print(table)


def main() -> None:
    """Run as ``python -m dyna_training.cli.train``, which is how accelerate starts it."""
    from dyna_training.together import run_one

    sys.argv = ["dyna", "train", *sys.argv[1:]]
    run_one()


if __name__ == "__main__":
    main()
