"""Turn the checkpoints of a LangGraph agent into transitions of an experience log."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    from dyna_graph.harvest import Harvest
    from dyna_nodes.nouns import Transition

app = typer.Typer(add_completion=False)
EXAMPLES = 3


@app.command()
def harvest(
    source: Annotated[str, typer.Argument(help="SQLite file of a checkpointer, or postgresql://… URL.")],
    log: Annotated[Path, typer.Argument(help="Folder of the experience log; it may hold one already.")],
    thread: Annotated[
        list[str] | None, typer.Option(help="Only this thread; may be repeated. Left out: all.")
    ] = None,
    channel: Annotated[str, typer.Option(help="Channel of the state that holds the messages.")] = "messages",
    branches: Annotated[
        bool,
        typer.Option("--branches", help="Also branches of time travel, each whole, its beginning repeated."),
    ] = False,
    redact: Annotated[
        str | None,
        typer.Option(help="module:function that takes a transition and returns it changed, or None."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write nothing, only say what would be.")
    ] = False,
    json_: Annotated[
        bool, typer.Option("--json", help="Print JSON, with every call that was left out.")
    ] = False,
) -> None:
    """Turn the checkpoints of a LangGraph agent into transitions of an experience log.

    Any agent with messages in its state will do. The database is only read. What is in the log
    already is not written again, so the same command goes on after an interruption and picks up
    what is new. Calls that never ran, or perhaps never ran, are left out and counted by reason.

      dyna harvest checkpoints.sqlite experience
      dyna harvest postgresql://localhost/agents experience --thread 42 --dry-run
      dyna harvest checkpoints.sqlite experience --redact my_project.privacy:without_names
    """
    from dyna_graph.harvest import harvest as run
    from dyna_graph.harvest import open_database
    from dyna_nodes.experience import ExperienceLog

    hook = None if redact is None else _hook(redact)
    with open_database(source) as database, ExperienceLog(log) as target:
        found = run(
            database,
            target,
            channel=channel,
            threads=thread,
            branches=branches,
            redact=hook,
            dry_run=dry_run,
        )
    if json_:
        typer.echo(json.dumps(found.model_dump(mode="json"), indent=1))
    else:
        _show(found, log, dry_run)
    if not found.new + found.known:
        raise typer.Exit(1)


def _hook(name: str) -> Callable[[Transition], Transition | None]:
    """Import the redaction hook; modules of the working directory are found.

    Raises:
        ConfigError: There is no such function.
    """
    import os
    import sys
    from importlib import import_module

    from dyna_graph.errors import ConfigError, Problem

    module, _, function = name.partition(":")
    sys.path.insert(0, os.getcwd())
    try:
        found: Callable[[Transition], Transition | None] = getattr(import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError([Problem(f"--redact {name}: write module:function; {error}")]) from error
    finally:
        sys.path.pop(0)
    return found


def _show(found: Harvest, log: Path, dry_run: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    console.print(
        f"{found.source}: {found.threads} threads, {found.checkpoints} checkpoints, {found.calls} calls"
        + (f", {found.branches} branches of time travel" if found.branches else ""),
        markup=False,
    )
    if found.tools:
        table = Table("tool", "new transitions")
        for name, count in found.tools.items():
            table.add_row(name, str(count))
        console.print(table)
    for reason, count in found.reasons.items():
        lines = [line for line in found.left_out if line.reason == reason]
        named = ", ".join(f"{line.tool or '?'} in thread {line.thread}" for line in lines[:EXAMPLES])
        more = ", …" if count > EXAMPLES else ""
        console.print(f"left out: {count} {reason} ({named}{more})", markup=False)
    for line in found.unreadable:
        place = f"thread {line.thread}" + (f", {line.namespace}" if line.namespace else "")
        console.print(f"not read: {place}, {line.call or 'all'}: {line.reason}", markup=False)
    verb = "would be written" if dry_run else "written"
    console.print(
        f"{found.new} new transitions {verb} to {log}, {found.known} were there already", markup=False
    )
