"""Look into recorded experience, convert it, choose from it, divide it, hand it to other programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from dyna_training.cli.command_line import command
from dyna_training.cli.data_exchange import export, import_
from dyna_training.cli.data_shown import say_made, say_problems, say_statistics

if TYPE_CHECKING:
    from dyna_training.store.rewriting import Decide

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Look into recorded experience, convert it, choose from it, divide it, hand it to other programs.",
)
Data = Annotated[
    list[Path],
    typer.Argument(help="Folders or files of experience: collections, logs, Parquet."),
]
Out = Annotated[Path, typer.Option(help="Folder to write; it must not be there yet.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
To = Annotated[Literal["jsonl", "parquet"], typer.Option(help="Write lines of JSON, or Parquet.")]
OUTCOMES = ("success", "failure", "truncated", "unknown")


@app.callback()
def _data() -> None:
    """Look into recorded experience, convert it, choose from it, divide it, hand it to other programs."""


app.command()(export)
app.command("import")(import_)


@app.command()
def stats(
    data: Data,
    plots: Annotated[
        Path | None, typer.Option(help="Folder for pictures: lengths, success, actions.")
    ] = None,
    json_: Json = False,
) -> None:
    """Count what there is: episodes, success, lengths, actions, texts, duplicates.

    Intervals are of 95 %, over games, since episodes of one game resemble each other. What was
    played inside a world model is counted by itself.

      dyna data stats data/train
      dyna data stats data/train data/new --plots plots
    """
    from dyna_training.store.source import Source
    from dyna_training.store.statistics import statistics

    figures = statistics(Source(data))
    drawn: list[Path] = []
    if plots is not None:
        from dyna_training.store.plots import draw

        drawn = draw(figures, plots)
    if json_:
        typer.echo(json.dumps({**figures, "plots": [str(file) for file in drawn]}, indent=1))
        return
    say_statistics(figures)
    for file in drawn:
        typer.echo(str(file))


@app.command()
def convert(
    data: Data,
    out: Out,
    to: Annotated[
        Literal["parquet", "jsonl", "log"],
        typer.Option(
            help="parquet: columns. jsonl: lines of episodes, as collections have. log: single steps."
        ),
    ] = "parquet",
    rows: Annotated[
        Literal["trajectory", "transition"],
        typer.Option(help="What a row is, in Parquet; the steps of a log stay single with transition."),
    ] = "trajectory",
    json_: Json = False,
) -> None:
    """Write experience as Parquet, or back; the way there and back changes nothing.

    `dyna train` and `dyna eval` read either. A Parquet file says of itself what it was made of.

      dyna data convert data/train --out data/train-columns
      dyna data convert experience --rows transition --out data/log-columns
      dyna data convert data/train-columns --to jsonl --out data/train-again
    """
    from dyna_training.store.converting import convert as run
    from dyna_training.store.source import Source

    _say(run(Source(data), out, to, rows, command()), out, json_)


@app.command("filter")
def filter_(
    data: Data,
    out: Out,
    outcome: Annotated[
        list[str] | None,
        typer.Option(
            help="Keep episodes that ended so: success, failure, truncated, unknown. Repeatable, as all that follow."
        ),
    ] = None,
    min_steps: Annotated[int, typer.Option(min=0, help="Keep episodes of at least so many steps.")] = 0,
    max_steps: Annotated[int | None, typer.Option(min=0, help="And of at most so many.")] = None,
    action_type: Annotated[
        list[str] | None, typer.Option(help="Keep episodes with a step of this type: a verb such as `take`.")
    ] = None,
    tool: Annotated[list[str] | None, typer.Option(help="Keep episodes with a call of this tool.")] = None,
    behaviour: Annotated[
        list[str] | None, typer.Option(help="Keep what this behaviour or model played.")
    ] = None,
    task_type: Annotated[list[str] | None, typer.Option(help="Keep tasks of this type.")] = None,
    environment: Annotated[list[str] | None, typer.Option(help="Keep this environment.")] = None,
    split: Annotated[list[str] | None, typer.Option(help="Keep games recorded as of this split.")] = None,
    without: Annotated[
        list[Path] | None,
        typer.Option(
            help="Leave out games that this set has, those of an evaluation, for one. A folder or file."
        ),
    ] = None,
    to: To = "jsonl",
    json_: Json = False,
) -> None:
    """Keep the episodes that satisfy all conditions; the others are listed with the reason.

    dyna data filter data/train --outcome success --max-steps 20 --out data/short
    dyna data filter data/train --behaviour expert --behaviour noisy --out data/good
    dyna data filter data/more --without data/evaluated --out data/unseen
    """
    from dyna_training.store.filtering import Conditions
    from dyna_training.store.problems import StoreError
    from dyna_training.store.sharing import game
    from dyna_training.store.source import Source

    unknown = next((name for name in outcome or () if name not in OUTCOMES), None)
    if unknown is not None:
        raise StoreError(f"--outcome: unknown {unknown!r}; there are {', '.join(OUTCOMES)}")
    games: set[str] = set()
    if without:
        others = Source(without)
        games = {game(trajectory) for trajectory in others.trajectories()}
        if others.problems:
            first = others.problems[0]
            raise StoreError(
                f"--without: {first.file}:{first.line}: {first.reason}; a game that cannot be read would be let through"
            )
    conditions = Conditions(
        outcomes=frozenset(outcome or ()),
        min_steps=min_steps,
        max_steps=max_steps,
        action_types=frozenset(action_type or ()),
        tools=frozenset(tool or ()),
        behaviours=frozenset(behaviour or ()),
        task_types=frozenset(task_type or ()),
        environments=frozenset(environment or ()),
        splits=frozenset(split or ()),
        without=frozenset(games),
    )
    settings = {
        name: sorted(value) if isinstance(value, frozenset) else value
        for name, value in conditions.model_dump(exclude_defaults=True).items()
    }
    _rewrite(data, out, to, conditions.decide, "filter", settings, json_)


@app.command()
def dedupe(
    data: Data,
    out: Out,
    transitions: Annotated[
        bool,
        typer.Option(
            "--transitions",
            help="Also episodes all of whose steps (context, action, observation) stand in others; in the rest "
            "such steps are labelled, and exports leave them out.",
        ),
    ] = False,
    to: To = "jsonl",
    json_: Json = False,
) -> None:
    """Leave out episodes that are the same as one before but for ids, times and who played.

    dyna data dedupe data/train data/more --out data/unique
    """
    from dyna_training.store.duplicates import Duplicates

    found = Duplicates(steps=transitions)
    _rewrite(data, out, to, found.decide, "dedupe", {"transitions": transitions}, json_)
    if transitions and not json_:
        typer.echo(f"{found.repeated_steps:,} steps of kept episodes are labelled as repeated")


@app.command()
def split(
    data: Data,
    out: Out,
    by: Annotated[
        Literal["game", "level", "item", "task", "task-type"],
        typer.Option(
            help="What stays together. level: games that look the same at first. task: games whose names differ in "
            "their last part only. item: goals of one item in a shop. task-type: all games of a type."
        ),
    ] = "game",
    fractions: Annotated[
        str, typer.Option(help="Parts by name, or two or three numbers: train, (dev,) test.")
    ] = "0.8,0.1,0.1",
    seed: Annotated[int, typer.Option(help="Seeds which group goes where.")] = 0,
    to: To = "jsonl",
    json_: Json = False,
) -> None:
    """Divide episodes into parts that share no game; what was written is checked before it is kept.

    Games, whatever they are divided by, and episodes that are the same stay together.

      dyna data split data/all --by game --out data/parts
      dyna data split data/all --by task --fractions train=0.9,test=0.1 --seed 3 --out data/parts
    """
    from dyna_training.store.source import Source
    from dyna_training.store.splitting import parse_fractions
    from dyna_training.store.splitting import split as run

    _say(run(Source(data), out, by, parse_fractions(fractions), seed, to, command()), out, json_)


@app.command()
def check(
    data: Annotated[list[Path], typer.Argument(help="Two sets or more, each a folder or file.")],
    by: Annotated[
        Literal["game", "level", "item", "task", "task-type"],
        typer.Option(
            help="What must not be shared, besides games and equal episodes; see `dyna data split`."
        ),
    ] = "game",
    json_: Json = False,
) -> None:
    """Name every game that two sets share; exit code 1 if there is one, or an episode that is in both.

    dyna data check data/train data/test
    """
    from dyna_training.cli.data_shown import say_shared
    from dyna_training.store.problems import StoreError
    from dyna_training.store.sharing import contents, shared
    from dyna_training.store.source import Source

    names = [str(path) for path in data]
    if len(set(names)) < max(2, len(names)):
        raise StoreError("name two sets or more, each once")
    sources = {name: Source([path]) for name, path in zip(names, data, strict=True)}
    found = shared({name: contents(source.trajectories(), by) for name, source in sources.items()})
    for source in sources.values():
        say_problems(source.problems)
    if json_:
        typer.echo(json.dumps([pair.to_json() for pair in found], indent=1))
    else:
        say_shared(found)
    if any(pair.leaks for pair in found):
        raise typer.Exit(1)


@app.command()
def migrate(
    data: Annotated[list[Path], typer.Argument(help="Folders or files of lines.")],
    json_: Json = False,
) -> None:
    """Bring files of an older format up to the present one, in place, each with a backup beside it.

    dyna data migrate data/old
    """
    from dyna_training.store.migrating import migrate as run

    found = run(data)
    if json_:
        rows = [{"file": str(f.file), "lines": f.lines, "backup": f.backup and str(f.backup)} for f in found]
        typer.echo(json.dumps(rows, indent=1))
        return
    for file in found:
        what = f"{file.lines} lines brought up; before: {file.backup}" if file.backup else "nothing to do"
        typer.echo(f"{file.file}: {what}")


def _rewrite(
    data: list[Path],
    out: Path,
    to: Literal["jsonl", "parquet"],
    decide: Decide,
    made: str,
    settings: dict[str, Any],
    json_: bool,
) -> None:
    from dyna_training.store.rewriting import rewrite
    from dyna_training.store.source import Source

    manifest = rewrite(Source(data), out, to, decide, made=made, settings=settings, command=command())
    _say(manifest, out, json_)


def _say(manifest: dict[str, Any], out: Path, json_: bool) -> None:
    if json_:
        typer.echo(json.dumps(manifest, indent=1))
    else:
        say_made(manifest, out)


if __name__ == "__main__":
    app()
