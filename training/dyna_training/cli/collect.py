"""Record episodes for training: experts, random play, or a model, in many processes."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from dyna_training.cli.command_line import command

if TYPE_CHECKING:
    from collections.abc import Callable

    from dyna_training.collect_progress import Progress

app = typer.Typer(add_completion=False)
STARTING: Final = "starting"
BETWEEN: Final = 30.0
"""Seconds between two lines about the progress, where there is no terminal."""


@app.command()
def collect(
    out: Annotated[Path, typer.Option(help="Folder of the collection; an interrupted one is continued.")],
    environment: Annotated[
        str, typer.Option(help="Id of the environment; dyna env list says which there are.")
    ] = "dyna/ALFWorld-v0",
    split: Annotated[
        str,
        typer.Option(
            help="Split of its games, as dyna env list has them. ALFWorld: train, dev_seen, dev_unseen, valid_seen, "
            "valid_unseen (official games, in $ALFWORLD_DATA), or generated."
        ),
    ] = "train",
    games: Annotated[int, typer.Option(min=0, help="How many games; 0 is all of the split.")] = 0,
    skip: Annotated[
        int, typer.Option(min=0, help="Leave out the first so many games; for collections that share none.")
    ] = 0,
    task_type: Annotated[str | None, typer.Option(help="Only games of this type.")] = None,
    without_task_type: Annotated[str | None, typer.Option(help="No games of this type.")] = None,
    behaviours: Annotated[
        str | None,
        typer.Option(
            help="Who plays, separated by commas: expert, noisy, random, clumsy, astray, teacher, "
            "teacher-noisy, teacher-future; each plays every game."
        ),
    ] = None,
    mixture: Annotated[
        bool, typer.Option("--mixture", help="The frozen mixture of all three; the default without --policy.")
    ] = False,
    policy: Annotated[
        str | None, typer.Option(help="A model that plays: local:smollm2+ADAPTER, or provider:model.")
    ] = None,
    imagined: Annotated[
        str | None,
        typer.Option(
            help="Adapter of a world model that the --policy plays in, instead of the environment; the real games "
            "give task and first observation."
        ),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="Torch device of local models; default: a GPU where there is one.")
    ] = None,
    temperature: Annotated[float | None, typer.Option(min=0.0, help="Temperature of the policy.")] = None,
    max_tokens: Annotated[
        int | None,
        typer.Option(min=1, help="Most tokens of a response of the policy; one that is cut has no action."),
    ] = None,
    system_prompt: Annotated[str | None, typer.Option(help="What the policy is told first.")] = None,
    memory: Annotated[
        str,
        typer.Option(
            help="What the policy reads of its own earlier turns, as it was trained: thoughts (all), or actions."
        ),
    ] = "thoughts",
    repeats: Annotated[int, typer.Option(min=1, help="How often each game is played, with other seeds.")] = 1,
    seed: Annotated[int, typer.Option(help="Seeds the choice of games and every episode.")] = 0,
    max_steps: Annotated[int, typer.Option(min=1, help="Longest episode.")] = 50,
    counterfactuals: Annotated[
        int,
        typer.Option(
            min=0,
            help="Before each step of a behaviour, try so many other commands in forks, and record them.",
        ),
    ] = 0,
    workers: Annotated[int, typer.Option(min=1, help="How many processes.")] = 1,
    concurrency: Annotated[
        int, typer.Option(min=1, help="With --policy, episodes that are played at once in each process.")
    ] = 8,
    cluster: Annotated[
        str | None,
        typer.Option(
            help="Play on a Ray cluster: its address (host:port), or local, a cluster of this machine."
        ),
    ] = None,
    time_limit: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            help="Seconds an episode may take; then its process is killed and it is tried again. Default: 600, "
            "with --policy 3600.",
        ),
    ] = None,
    memory_limit: Annotated[
        str | None,
        typer.Option(
            help="Memory a worker may hold, engines included, for example 2GB; one that holds more is replaced "
            "between two episodes."
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print the manifest as JSON.")] = False,
) -> None:
    """Record episodes for training: experts, random play, or a model, in many processes.

    Trajectories and a manifest go to the folder. The same command again goes on where the last
    one was interrupted; more --games extend a collection. A worker that dies, hangs or leaks is
    replaced, and its episode tried again; progress.json in the folder says how far it is.

      dyna collect --split train --games 400 --out data/train --workers 2
      dyna collect --split generated --games 200 --behaviours expert,noisy --out data/new
      dyna collect --split train --games 50 --policy local:smollm2+runs/policy/adapter --out data/own
      dyna collect --environment dyna/TextWorld-v0 --split train --games 200 --out data/textworld
      dyna collect --split train --out data/train --workers 64 --cluster 10.0.0.1:6379
    """
    from dyna_graph.errors import DynaError
    from dyna_graph.plugins import ENVIRONMENTS, plugin_names
    from dyna_training.collect import CollectSettings
    from dyna_training.collect import collect as run
    from dyna_training.collection import CollectError, Collection
    from dyna_training.environments.base import GameFileError, PackageMissing
    from dyna_training.environments.catalogue import CATALOGUES, catalogue

    if environment not in CATALOGUES and environment in plugin_names(ENVIRONMENTS):
        raise _usage(
            f"--environment: {environment} has no list of games to collect from; agents play it through "
            "environment_tools"
        )
    there = catalogue(_known(environment, list(CATALOGUES), "environment", "--environment"))
    players = _behaviours(behaviours, mixture, policy, list(there.behaviours))
    if counterfactuals and not players:
        raise _usage(
            "--counterfactuals are tried beside the steps of behaviours; add --mixture or --behaviours"
        )
    settings = CollectSettings(
        environment=environment,
        split=_known(split, list(there.splits), "split", "--split"),
        out=out,
        games=games,
        skip=skip,
        task_type=_task_type(task_type, there.task_types, "--task-type"),
        without_task_type=_task_type(without_task_type, there.task_types, "--without-task-type"),
        behaviours=players,  # type: ignore[arg-type]
        policy=_policy(policy),
        imagined=_imagined(imagined, policy, players),
        device=_device(policy, device),
        temperature=temperature,
        max_tokens=max_tokens,
        system_prompt=system_prompt,
        memory=_known(memory, ["thoughts", "actions"], "memory", "--memory"),  # type: ignore[arg-type]
        repeats=repeats,
        seed=seed,
        max_steps=max_steps,
        counterfactuals=counterfactuals,
        workers=workers,
        concurrency=concurrency,
        cluster=cluster,
        time_limit=time_limit,
        memory_limit=_bytes(memory_limit),
    )
    with _progress(quiet) as on_progress:
        try:
            manifest = run(settings, command=command(), on_progress=on_progress)
        except GameFileError as error:
            raise DynaError(f"{error}\n{there.instead}".rstrip()) from error
        except (CollectError, PackageMissing) as error:
            raise DynaError(str(error)) from error
        except KeyboardInterrupt:
            recorded = len(Collection(out).recorded)
            raise _interrupted(f"{recorded} episodes are recorded in {out}") from None
    if json_:
        typer.echo(json.dumps(manifest, indent=1))
    else:
        _summary(manifest, out)
    if manifest["failed"]:
        raise typer.Exit(1)


def _task_type(name: str | None, names: Sequence[str], option: str) -> str | None:
    return None if name is None else _known(name, list(names), "task type", option)


def _behaviours(names: str | None, mixture: bool, policy: str | None, there: list[str]) -> tuple[str, ...]:
    from dyna_training.behaviours import MIXTURE

    if names is not None and mixture:
        raise _usage("--mixture is all behaviours in fixed shares; leave out --behaviours")
    if names is None:
        return () if policy is not None and not mixture else MIXTURE
    found = [name.strip() for name in names.split(",") if name.strip()]
    known = {_known(name, there, "behaviour", "--behaviours") for name in found}
    return tuple(name for name in there if name in known)


def _policy(name: str | None) -> str | None:
    """Check what can be known about a model before processes are started."""
    if name is not None:
        from dyna_graph.models import check_model

        check_model(name)
    return name


def _imagined(adapter: str | None, policy: str | None, players: tuple[str, ...]) -> str | None:
    """Check what a world model to play in needs."""
    if adapter is not None:
        from dyna_graph.models import find_adapter
        from dyna_training.imagined import policy_base

        if policy is None or players:
            raise _usage("--imagined: only a --policy plays inside a world model; leave out the behaviours")
        policy_base(policy)
        find_adapter(adapter)
    return adapter


def _device(policy: str | None, device: str | None) -> str:
    """Return where local models run; torch is loaded only to look for a GPU for one."""
    if device is not None or policy is None or not policy.startswith("local:"):
        return device or "cpu"
    from dyna_training.cli.evaluate import default_device

    return default_device()


def _bytes(words: str | None) -> Any:
    from pydantic import ByteSize, TypeAdapter, ValidationError

    if words is None:
        return None
    try:
        found = TypeAdapter(ByteSize).validate_python(words)
    except ValidationError:
        found = ByteSize(0)
    if found <= 0:
        raise _usage(f"--memory-limit: {words!r} is no size; write for example 800MB or 2GiB")
    return found


def _known(name: str, names: list[str], what: str, option: str) -> str:
    from dyna_graph.errors import suggestion

    if name not in names:
        raise _usage(f"{option}: unknown {what} {name!r}; {suggestion(name, names, what='there are')}")
    return name


def _usage(message: str) -> Exception:
    from dyna_graph.errors import ConfigError, Problem

    return ConfigError([Problem(message)])


def _interrupted(message: str) -> typer.Exit:
    typer.echo(f"Interrupted. {message}; the same command goes on from there.", err=True)
    return typer.Exit(130)


@contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[Progress], None]]:
    """Show a bar with rate and time left, or a line now and then where there is no terminal; and what goes wrong."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True, highlight=False)
    # Narrow, so that all of it stands in 80 columns.
    columns = (BarColumn(bar_width=10), MofNCompleteColumn(), TextColumn("{task.fields[words]}"))
    bar = Bar(*columns, console=console, disable=quiet or not console.is_terminal, transient=True)
    task = bar.add_task("", total=None, words="")
    said = time.monotonic()

    def show(progress: Progress) -> None:
        nonlocal said
        bar.update(task, total=progress.total, completed=progress.done, words=progress.words() or STARTING)
        if quiet:
            return
        report = progress.report
        if report is not None and report.kind != "done":
            then = {"crashed": "; trying again", "failed": "; skipped", "recycled": ""}[report.kind]
            bar.console.print(
                f"{report.task.player} on {report.task.game}: {report.reason}{then}", markup=False
            )
        if not console.is_terminal and time.monotonic() >= said + BETWEEN:
            said = time.monotonic()
            console.print(f"{progress.done} of {progress.total} episodes, {progress.words()}", markup=False)

    with bar:
        yield show


def _summary(manifest: dict[str, Any], out: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    counts = manifest["counts"]
    table = Table(title=f"{counts['episodes']} episodes of {counts['games']} games in {out}")
    table.add_column("behaviour")
    for name in ("episodes", "solved", "steps", "steps/episode"):
        table.add_column(name, justify="right")
    for name, row in counts["by_behaviour"].items():
        solved = f"{row.get('success', 0) / row['episodes']:.0%}"
        mean = f"{row['transitions'] / row['episodes']:.1f}"
        table.add_row(name, str(row["episodes"]), solved, str(row["transitions"]), mean)
    console = Console(highlight=False, markup=False)  # a folder's name may hold brackets
    console.print(table)
    if manifest["mixture"]:
        console.print(f"frozen mixture {manifest['mixture']['digest']}")
    if manifest["teacher"]:
        console.print(f"teacher's distribution {manifest['teacher']['digest']}")
    for name, row in counts["by_behaviour"].items():
        if lost := row.get("without_action"):
            of = f"{lost} of {row['episodes']} episodes"
            console.print(f"{name}: {of} ended early, with a response in which no action could be read")
    for failure in manifest["failed"]:
        console.print(f"skipped: {failure['player']} on {failure['game']}: {failure['reason']}")


if __name__ == "__main__":
    app()
