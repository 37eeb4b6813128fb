"""Run a paper's study as a graph of stages: collect, train, evaluate, and write its table."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    from dyna_training.study.runner import Event, Known, Runner
    from dyna_training.study.settings import StudySettings

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Run a paper's study as a graph of stages."
)
OUT_OF_TIME = 75
"""Exit code of a study that is not finished because ``--minutes`` were over; as ``EX_TEMPFAIL`` of sysexits."""
STYLES = {"finished": "green", "begun": "yellow", "failed": "red", "changed": "red", "ready": "bold"}


@app.callback()
def _study() -> None:
    """Run a paper's study as a graph of stages."""


@app.command("dyna-think")
def dyna_think(
    out: Annotated[Path, typer.Option(help="Folder of the study; an interrupted one is continued.")],
    config: Annotated[
        str, typer.Option(help="Study file (YAML), or the name of a shipped one: see `dyna study list`.")
    ] = "dyna-think",
    only: Annotated[
        list[str] | None,
        typer.Option(help="Run only these stages, by glob such as '*/stage1/*'; repeatable."),
    ] = None,
    until: Annotated[
        list[str] | None, typer.Option(help="Run up to these stages and what they need, by glob; repeatable.")
    ] = None,
    redo: Annotated[
        list[str] | None,
        typer.Option(help="Delete these stages and all that follows from them first, by glob; repeatable."),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(min=0.0, help="Stop after so many minutes with everything kept; exit code 75."),
    ] = None,
    jobs: Annotated[
        int,
        typer.Option(
            min=1,
            help="Stages that do not need each other to run at the same time; the threads are shared out. On a CPU, "
            "a stage for each core is faster than one stage on all of them.",
        ),
    ] = 1,
    list_: Annotated[bool, typer.Option("--list", help="Show the stages and their state, and stop.")] = False,
    commands: Annotated[
        bool, typer.Option("--commands", help="Show the command of each stage, and stop.")
    ] = False,
    report: Annotated[
        bool, typer.Option("--report", help="Only write the tables of what is finished.")
    ] = False,
    record: Annotated[
        Path | None,
        typer.Option(help="Also write the report and its plots here, such as docs/results/dyna-think.md."),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print the results, or the stages, as JSON.")] = False,
) -> None:
    """Reproduce the table of Dyna-Think: distillation, DIT, RFT, vanilla Dyna and DDT.

    Every stage is a command of `dyna` in a process of its own. The same command goes on where the
    last one ended, whatever ended it; stages that are finished are not run again.

      dyna study dyna-think --config dyna-think-cpu --out runs/study
      dyna study dyna-think --config dyna-think-cpu --out runs/study --list
      dyna study dyna-think --config mine.yaml --out runs/study --until '*/imitation/dit/*'
    """
    from dyna_graph.errors import DynaError
    from dyna_training.study.arms import build
    from dyna_training.study.process import OutOfTime
    from dyna_training.study.runner import Runner
    from dyna_training.study.settings import read_study
    from dyna_training.study.stages import StudyError

    settings = read_study(config)
    stages = build(settings)
    runner = Runner(out, stages, tolerated=settings.tolerated_failures)
    try:
        if commands:
            _show_commands(runner)
            return
        if redo and not list_:
            for name in runner.redo(_chosen(redo, runner, "--redo")):
                typer.echo(f"deleted: {name}", err=True)
        known = runner.known()
        if list_:
            _show_stages(known, settings, json_)
            return
        if not report:
            wanted = _wanted(runner, only, until)
            deadline = None if minutes is None else time.monotonic() + minutes * 60
            with _told(len(wanted), settings) as runner.on_event:
                known = runner.run(wanted, deadline, jobs)
    except OutOfTime:
        done = sum(k.state == "finished" for k in runner.known().values())
        typer.echo(
            f"Time is up: {done} of {len(stages)} stages are finished; the same command goes on.", err=True
        )
        raise typer.Exit(OUT_OF_TIME) from None
    except KeyboardInterrupt:
        done = sum(k.state == "finished" for k in runner.known().values())
        typer.echo(
            f"Interrupted: {done} of {len(stages)} stages are finished; the same command goes on.", err=True
        )
        raise typer.Exit(130) from None
    except StudyError as error:
        raise DynaError(str(error)) from error
    _report(runner, settings, known, record, json_)
    if any(k.state == "failed" for k in known.values()):
        raise typer.Exit(1)


@app.command("list")
def list_studies() -> None:
    """List the shipped study files."""
    from dyna_training.shipped import told
    from dyna_training.study.settings import shipped_studies

    typer.echo("\n".join(told(shipped_studies())))


def _chosen(globs: list[str], runner: Runner, option: str) -> list[str]:
    """Return the stages that globs name, in order."""
    from fnmatch import fnmatchcase

    from dyna_graph.errors import ConfigError, Problem, suggestion

    for glob in globs:
        if not any(fnmatchcase(name, glob) for name in runner.stages):
            hint = suggestion(glob, runner.stages, what="there are")
            raise ConfigError([Problem(f"{option}: no stage is named {glob!r}; {hint}")])
    return [name for name in runner.stages if any(fnmatchcase(name, glob) for glob in globs)]


def _wanted(runner: Runner, only: list[str] | None, until: list[str] | None) -> list[str]:
    from dyna_training.study.stages import upstream

    wanted = list(runner.stages)
    if until:
        wanted = upstream(runner.stages, _chosen(until, runner, "--until"))
    if only:
        chosen = _chosen(only, runner, "--only")
        wanted = [name for name in wanted if name in chosen]
    return wanted


def _show_commands(runner: Runner) -> None:
    import shlex

    from dyna_training.study.stages import OUT

    for stage in runner.stages.values():
        typer.echo(f"# {stage.name}")
        for command in stage.commands:
            typer.echo(shlex.join(["dyna", *(word.replace(OUT, str(runner.out)) for word in command)]))


def _show_stages(known: dict[str, Known], settings: StudySettings, json_: bool) -> None:
    if json_:
        typer.echo(json.dumps({name: k._asdict() for name, k in known.items()}, indent=1))
        return
    from rich.console import Console
    from rich.table import Table

    done = sum(k.state == "finished" for k in known.values())
    table = Table(title=f"{done} of {len(known)} stages finished", title_justify="left")
    for column in ("stage", "state", "time", ""):
        table.add_column(column, justify="right" if column == "time" else "left")
    for name, k in known.items():
        style = STYLES.get(k.state, "dim")
        why = k.why or _over(k.seconds, settings.stage_minutes)
        table.add_row(name, f"[{style}]{k.state}[/]", _time(k.seconds) if k.seconds else "", why)
    Console(highlight=False).print(table)


def _over(seconds: float, minutes: float | None) -> str:
    return f"over {minutes:g} min" if minutes is not None and seconds > minutes * 60 else ""


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@contextmanager
def _told(total: int, settings: StudySettings) -> Iterator[Callable[[Event], None]]:
    """Say what becomes of each stage: on a terminal with a line that moves, else a line for each."""
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    places: dict[str, str] = {}
    lines: dict[str, str] = {}
    with console.status("") as status:

        def tell(event: Event) -> None:
            place = places.setdefault(event.stage, f"[{len(places) + 1}/{total}] {event.stage}")
            if event.kind in ("started", "progress"):
                lines[event.stage] = _line(place, event)
            else:
                lines.pop(event.stage, None)
            status.update("   ".join(lines.values()))
            if event.kind == "started":
                goes_on = f", after {_time(event.seconds)} of earlier runs" if event.seconds else ""
                console.print(f"{place}: started{goes_on}", markup=False, soft_wrap=True)
            elif event.kind != "progress":
                over = _over(event.seconds, settings.stage_minutes)
                parts = [_time(event.seconds) if event.seconds else "", over, event.message]
                what = {"skipped": "finished before", "left": "left out"}.get(event.kind, event.kind)
                console.print(
                    f"{place}: {', '.join([what, *filter(None, parts)])}", markup=False, soft_wrap=True
                )

        yield tell


def _line(place: str, event: Event) -> str:
    done = "" if event.fraction is None else f", {event.fraction:.0%}"
    left = "" if event.left_s is None else f", {_time(event.left_s)} left"
    return f"{place.replace('[', chr(92) + '[')}  {_time(event.seconds)}{done}{left}"


def _report(
    runner: Runner, settings: StudySettings, known: dict[str, Known], record: Path | None, json_: bool
) -> None:
    """Write the tables of what is finished."""
    from dyna_training.cli.command_line import command
    from dyna_training.study import report
    from dyna_training.study.results import results as found

    results: dict[str, Any] = found(runner, settings, known, command())
    files = report.write(results, runner.out)
    if record is not None:
        files += report.record(results, record)
    if json_:
        typer.echo(json.dumps(results, indent=1, ensure_ascii=False))
        return
    typer.echo(report.markdown(results, report.STEM))
    typer.echo("Written: " + ", ".join(map(str, files)))


if __name__ == "__main__":
    app()
