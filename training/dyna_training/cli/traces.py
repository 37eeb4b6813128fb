"""Import a reasoning model's traces, shorten their thinking, look at both side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from dyna_training.cli.command_line import command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Import a reasoning model's traces, shorten their thinking, look at both side by side.",
)
Json = Annotated[bool, typer.Option("--json", help="Print the manifest as JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show no progress.")]
LINES = 12


@app.callback()
def _traces() -> None:
    """Import a reasoning model's traces, shorten their thinking, look at both side by side."""


@app.command("import")
def import_(
    paths: Annotated[list[Path], typer.Argument(help="Files of logs, or folders of them.")],
    format: Annotated[
        Literal["openai", "langsmith", "balrog"],
        typer.Option(
            help="openai: JSON or JSONL of chat messages. langsmith: exported runs. balrog: a CSV per episode."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the trajectories; it must hold none yet.")],
    tools: Annotated[
        str | None,
        typer.Option(help="Names of the known tools, separated by commas; else what each log says."),
    ] = None,
    action_pattern: Annotated[
        str | None,
        typer.Option(
            help="Regular expression for actions in plain text, its group 1 the action; else the usual ones."
        ),
    ] = None,
    quiet: Quiet = False,
    json_: Json = False,
) -> None:
    """Make trajectories of a reasoning model's logs, and say what became of every turn.

    A turn is kept when it has thinking and an action that was executed. Every other turn is
    reported with file, record and reason in manifest.json; where its action did run, it stays
    in the trajectory as something that is read and not imitated.

      dyna traces import logs/*.jsonl --format openai --out data/teacher
      dyna traces import runs.json --format langsmith --tools search,fetch --out data/teacher
      dyna traces import episodes --format balrog --out data/teacher
    """
    from dyna_graph.errors import DynaError
    from dyna_training.traces.importing import ImportSettings, TracesError, import_traces

    names = None if tools is None else tuple(n.strip() for n in tools.split(",") if n.strip())
    settings = ImportSettings(
        paths=tuple(paths), format=format, out=out, tools=names, action_pattern=action_pattern
    )
    with _progress("reading", quiet) as advance:
        try:
            manifest = import_traces(settings, command=command(), on_file=lambda _: advance(1))
        except TracesError as error:
            raise DynaError(str(error)) from error
    if json_:
        typer.echo(json.dumps(manifest, indent=1))
    else:
        _import_summary(manifest, out)
    if not manifest["counts"]["turns"]["kept"]:
        raise typer.Exit(1)


@app.command()
def abbreviate(
    data: Annotated[list[Path], typer.Option(help="Folder or file of trajectories; may be repeated.")],
    out: Annotated[Path, typer.Option(help="Folder for the shortened ones; it must hold none yet.")],
    method: Annotated[
        Literal["extractive", "structural", "chat"],
        typer.Option(
            help="extractive: only removes sentences; needs no model. structural: keeps five kinds of lines of "
            "a grounded teacher's thinking. chat: a chat model shortens."
        ),
    ] = "extractive",
    model: Annotated[
        str | None, typer.Option(help="With --method chat: provider:model, or local:smollm2+ADAPTER.")
    ] = None,
    samples: Annotated[
        int,
        typer.Option(min=1, help="With --method chat: answers per turn; the shortest valid one is taken."),
    ] = 5,
    temperature: Annotated[
        float | None, typer.Option(min=0.0, help="With --method chat: temperature of the model.")
    ] = None,
    concurrency: Annotated[
        int, typer.Option(min=1, help="With --method chat: questions that are open at a time.")
    ] = 8,
    keep_under: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Turns of at most so many tokens stay untouched. Default: 550; structural: 0.",
            show_default=False,
        ),
    ] = None,
    base: Annotated[
        str, typer.Option(help="Model whose tokenizer counts: smollm2, a folder, a model of the hub.")
    ] = "smollm2",
    quiet: Quiet = False,
    json_: Json = False,
) -> None:
    """Shorten the thinking of every long turn to what leads to its action.

    Kept are: what the last action did, candidates for the next one, what the chosen one will
    do, what connects them, and code tied to it (Dyna-Think). Each result is checked; a turn
    whose result fails keeps its full text and is counted with the reason in report.md.

      dyna traces abbreviate --data data/teacher --out data/short
      dyna traces abbreviate --data data/teacher --out data/short --keep-under 200 --base ./my-model
      dyna traces abbreviate --data data/teacher --out data/short --method structural
      dyna traces abbreviate --data data/teacher --out data/short --method chat --model openai:gpt-5-mini
    """
    from dyna_graph.errors import ConfigError, DynaError, Problem
    from dyna_nodes.local.base import LocalModelError
    from dyna_training.traces.abbreviating import KEEP_UNDER, AbbreviateSettings
    from dyna_training.traces.abbreviating import abbreviate as run
    from dyna_training.traces.importing import TracesError

    if (method == "chat") != (model is not None):
        raise ConfigError([Problem("--method chat and --model provider:model belong together")])
    settings = AbbreviateSettings(
        data=tuple(data),
        out=out,
        method=method,
        keep_under=KEEP_UNDER[method] if keep_under is None else keep_under,
        base=base,
        model=model,
        samples=samples,
        temperature=temperature,
        concurrency=concurrency,
    )
    with _progress("shortening", quiet) as advance:
        try:
            manifest = run(settings, command=command(), on_trajectory=advance)
        except (TracesError, LocalModelError) as error:
            raise DynaError(str(error)) from error
        except KeyboardInterrupt:
            typer.echo("Interrupted. The same command begins anew; a model's answers are kept.", err=True)
            raise typer.Exit(130) from None
    if json_:
        typer.echo(json.dumps(manifest, indent=1))
    else:
        _abbreviation_summary(manifest, out)


@app.command()
def show(
    folder: Annotated[Path, typer.Argument(help="Folder of shortened trajectories.")],
    before: Annotated[Path, typer.Option(help="Folder they were made of.")],
    n: Annotated[int, typer.Option("-n", min=1, help="How many turns.")] = 20,
    seed: Annotated[int, typer.Option(help="Which turns are drawn.")] = 0,
    lines: Annotated[int, typer.Option(min=0, help="Most lines of each text; 0 shows all.")] = LINES,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown, with every line.")] = False,
) -> None:
    """Print turns before and after shortening side by side, from your own disk.

    dyna traces show data/short --before data/teacher -n 20
    """
    from rich.console import Console

    from dyna_graph.errors import DynaError
    from dyna_training.traces.importing import TracesError
    from dyna_training.traces.pairs import drawn_pairs, markdown_of

    try:
        pairs = drawn_pairs(folder, before, n, seed)
    except TracesError as error:
        raise DynaError(str(error)) from error
    if markdown:
        typer.echo(markdown_of(pairs))
        return
    console = Console(highlight=False)
    for number, pair in enumerate(pairs, start=1):
        console.rule(f"{number}/{len(pairs)}  {pair.group}, step {pair.step}", characters="─")
        console.print(_side_by_side(pair.before, pair.after, lines))
        console.print(f"> {pair.action}", style="bold", markup=False)


@app.command()
def facts(
    data: Annotated[
        list[Path],
        typer.Argument(help="Folders or files of trajectories in ALFWorld or TextWorld; a column each."),
    ],
    seed: Annotated[int, typer.Option(help="Seeds the bootstrap.")] = 0,
    json_: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Count what thinking states as a fact, and how much of it nobody could know at that time.

    For thinking in the form of the grounded teachers. Unknown: the history does not determine
    it. Against: the history determines something else. Unseen: it names what was never named.
    The last two are told of ALFWorld only.

      dyna traces facts data/teacher data/teacher-future
    """
    from dyna_graph.errors import DynaError
    from dyna_training.teachers.facts import fact_figures, facts_of

    found = {}
    for path in data:
        try:
            turns, problems = facts_of(path)
        except FileNotFoundError as error:
            raise DynaError(str(error)) from error
        for problem in problems:
            typer.echo(f"not read: {problem}", err=True)
        if not turns:
            raise DynaError(f"{path}: no thinking there imagines anything in the form `If I go to desk 1: …`")
        found[str(path)] = fact_figures(turns, seed=seed)
    if json_:
        typer.echo(json.dumps(found, indent=1))
    else:
        _facts_summary(found)


def _side_by_side(before: str, after: str, lines: int) -> Table:
    from rich.table import Table
    from rich.text import Text

    def cut(text: str) -> Text:
        """Show beginning and end; an action follows from the end."""
        every = [line for line in text.splitlines() if line.strip()]
        if lines and len(every) > lines:
            left = len(every) - lines
            head = lines // 2
            every = [*every[:head], f"[… {left} lines …]", *every[len(every) - (lines - head) :]]
        return Text("\n".join(every))

    table = Table(show_lines=False, expand=True)
    table.add_column(f"before: {len(before.split()):,} words", ratio=1)
    table.add_column(f"after: {len(after.split()):,} words", ratio=1)
    table.add_row(cut(before), cut(after))
    return table


def _import_summary(manifest: dict[str, Any], out: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    counts = manifest["counts"]
    turns = counts["turns"]
    table = Table(
        title=f"{turns['read']:,} turns read in {counts['files']:,} files: {turns['kept']:,} kept, "
        f"{turns['reported']:,} reported"
    )
    table.add_column("reported because")
    for name in ("turns", "lines", "read, not imitated", "left out", "noted"):
        table.add_column(name, justify="right")
    for reason, row in counts["reasons"].items():
        numbers = (row["turns"], row["lines"], row["read"], row["left out"], row["noted"])
        table.add_row(reason, *(f"{number:,}" for number in numbers))
    console = Console(highlight=False)
    console.print(table)
    outcomes = ", ".join(f"{count} {name}" for name, count in counts["outcomes"].items()) or "none"
    console.print(
        f"{counts['trajectories']:,} trajectories with {counts['steps']:,} steps in {out} ({outcomes})"
    )
    if manifest["problems"]:
        console.print(f"each line of the report: {out / 'manifest.json'}", markup=False)


def _abbreviation_summary(manifest: dict[str, Any], out: Path) -> None:
    from rich.console import Console

    from dyna_training.traces.report import ALL, HEADS, REPORT, rows

    title = f"Thinking of {manifest['trajectories']:,} trajectories, {manifest['settings']['method']}"
    table = _upright(title, HEADS, rows(manifest["figures"]))
    console = Console(highlight=False)
    console.print(table)
    for reason, count in manifest["figures"][ALL]["full_because"].items():
        console.print(f"{count} turns kept their full text: {reason}", markup=False)
    if manifest["settings"]["method"] == "chat" and (new := manifest["figures"][ALL]["new_sentences"]):
        console.print(f"{new['value']:.1%} of the sentences of a shortened turn are new")
    for reason, count in manifest["rejected_answers"].items():
        console.print(f"{count} answers could not be used: {reason}", markup=False)
    for problem in manifest["problems"]:
        console.print(f"not read: {problem}", markup=False)
    console.print(f"{out / REPORT}", markup=False)


def _facts_summary(found: dict[str, dict[str, Any]]) -> None:
    from rich.console import Console

    from dyna_training.teachers.facts import RATES, percent

    heads = ("turns", "simulations", "facts", *RATES.values())
    rows = [
        (
            path,
            *(f"{row[name]:,}" for name in ("turns", "simulations", "stated")),
            *(percent(row[name]) for name in RATES),
        )
        for path, row in found.items()
    ]
    table = _upright("Facts in simulations; rates in % with 95 % intervals by trajectory", heads, rows)
    Console(highlight=False).print(table)


def _upright(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Return a table with a column for each row: where there are few rows with many figures, it fits a terminal."""
    from rich.table import Table

    table = Table(title=title)
    table.add_column("")
    for name, *_ in rows:
        table.add_column(name, justify="right", overflow="fold")
    for head, *figures in zip(heads, *(row[1:] for row in rows), strict=True):
        table.add_row(head, *figures)
    return table


class _progress:
    """A bar that counts; nothing is shown when quiet."""

    def __init__(self, what: str, quiet: bool) -> None:
        from rich.console import Console
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self.bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description} {task.completed:,.0f}"),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            disable=quiet,
            transient=True,
        )
        self.task = self.bar.add_task(what, total=None)

    def __enter__(self) -> Any:
        self.bar.start()
        return lambda amount: self.bar.advance(self.task, amount)

    def __exit__(self, *_: object) -> None:
        self.bar.stop()


if __name__ == "__main__":
    app()
