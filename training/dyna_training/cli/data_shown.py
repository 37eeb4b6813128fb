"""What the commands of ``dyna data`` say in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

from dyna_training.store.names import printable

if TYPE_CHECKING:
    from rich.console import Console

    from dyna_training.store.sharing import Shared

MOST_PROBLEMS: Final = 5
"""So many problems are printed; JSON and manifests have all."""
MOST_ROWS: Final = 12


def _text(words: object) -> str:
    """Return words with escapes for what is no text, such as a file's name that is not UTF-8."""
    return str(words).encode(errors="backslashreplace").decode()


def say_problems(problems: Sequence[object]) -> None:
    """Print what could not be read."""
    for problem in problems[:MOST_PROBLEMS]:
        typer.echo(f"not read: {_text(problem)}", err=True)
    if len(problems) > MOST_PROBLEMS:
        typer.echo(f"and {len(problems) - MOST_PROBLEMS} more", err=True)


def say_made(manifest: dict[str, Any], out: Path) -> None:
    """Print what was written, and what was not."""
    say_problems(manifest["problems"])
    counts = ", ".join(f"{count:,} {name}" for name, count in manifest["counts"].items())
    typer.echo(f"{counts} in {out}")
    for part, found in manifest.get("parts", {}).items():
        if part:
            games = len(manifest.get("games", {}).get(part, ()))
            typer.echo(f"  {part}: {found['episodes']:,} episodes, {found['steps']:,} steps, {games:,} games")
    for pair in manifest.get("shared", ()):
        _say_levels(pair["one"], pair["other"], pair["levels"])
    for reason, count in manifest.get("left_out", {}).items():
        typer.echo(f"left out: {count:,} episodes: {_text(reason)}")
    for reason, count in manifest.get("steps_not_to_be_learned", {}).items():
        typer.echo(f"{count:,} steps are not to be learned from: {reason}; {_fate(manifest)}")
    if manifest.get("repeated"):
        typer.echo(f"left out: {manifest['repeated']:,} records that were read before")


def _fate(manifest: dict[str, Any]) -> str:
    whole = manifest["settings"]["format"] in ("word2world", "trl-sft")
    return "--format trl-prompt-completion has no rows for them" if whole else "they are context only"


def say_shared(pairs: Sequence[Shared]) -> None:
    """Print what sets share, every game by name."""
    for pair in pairs:
        if not pair.leaks:
            typer.echo(f"{pair.one} and {pair.other} share no game and no episode")
        else:
            typer.echo(f"{pair.one} and {pair.other} share {len(pair.games)} games:")
        for game in pair.games:
            typer.echo(f"  {_text(game)}")
        for group in pair.groups if pair.groups != pair.games else ():
            typer.echo(f"  shared by what they are divided by: {group!r}")
        if pair.episodes:
            typer.echo(f"  {len(pair.episodes)} episodes stand in both, the first {_text(pair.episodes[0])}")
        if not pair.games:
            _say_levels(pair.one, pair.other, pair.levels)


def _say_levels(one: str, other: str, levels: int) -> None:
    if levels:
        typer.echo(
            f"  {levels} first observations are in {one} and in {other}; --by level counts such games as one"
        )


def say_statistics(figures: dict[str, Any]) -> None:
    """Print the figures as tables."""
    from rich.console import Console

    say_problems(figures["problems"])
    console = Console(highlight=False, markup=False)  # names may hold brackets
    length, words = figures["length"], figures["words"]
    console.print(
        f"{figures['episodes']:,} episodes of {figures['games']:,} games, {figures['steps']:,} steps; "
        f"success {_success(figures['success'])}"
    )
    if length is not None:
        console.print(
            f"steps per episode: mean {length['mean']:.1f}, median {length['median']}, 10–90 % {length['p10']}–"
            f"{length['p90']}, {length['min']} to {length['max']}"
        )
    if words["thought"] is not None:
        console.print(
            f"words per step: thinking {words['thought']['mean']:.1f}, observation {words['observation']['mean']:.1f}; "
            f"predicted steps {figures['predictions']['steps']:,} "
            f"({figures['predictions']['tokens']:,} tokens), counterfactuals {figures['counterfactuals']:,}"
        )
    for name in ("environment", "behaviour", "task_type", "split"):
        _groups(console, name.replace("_", " "), figures[f"by_{name}"])
    for name in ("action_types", "tools", "verdicts", "labels"):
        _counted(console, name.replace("_", " "), figures[name], figures["steps"])
    same = figures["duplicates"]
    console.print(
        f"duplicates: {same['episodes']:,} episodes that are the same as another; {same['steps']:,} steps whose "
        f"context, action and observation stand in another; {same['ids']:,} records read twice"
    )
    if figures["imagined"]:
        console.print(f"{figures['imagined']:,} episodes were imagined, and are not counted")
    several = figures["games_in_several_splits"]
    if several:
        console.print(
            f"{len(several):,} games are recorded under several splits, the first {printable(several[0])}"
        )


def _groups(console: Console, name: str, groups: dict[str, dict[str, Any]]) -> None:
    from rich.table import Table

    if set(groups) <= {"unknown"}:
        return
    table = Table()
    table.add_column(name, overflow="fold")
    for column in ("episodes", "steps", "mean", "success, 95 %"):
        table.add_column(column, justify="right", no_wrap=True)
    for value, found in list(groups.items())[:MOST_ROWS]:
        mean = f"{found['steps'] / found['episodes']:.1f}"
        row = (f"{found['episodes']:,}", f"{found['steps']:,}", mean, _success(found["success"]))
        table.add_row(printable(value), *row)
    if len(groups) > MOST_ROWS:
        table.add_row(f"and {len(groups) - MOST_ROWS} more", "", "", "", "")
    console.print(table)


def _counted(console: Console, name: str, counts: dict[str, int], steps: int) -> None:
    if not counts:
        return
    shown = [
        f"{printable(value) or '(empty)'} {count:,} ({count / steps:.0%})" for value, count in counts.items()
    ]
    more = f", and {len(shown) - MOST_ROWS} more" if len(shown) > MOST_ROWS else ""
    console.print(f"{name}: {', '.join(shown[:MOST_ROWS])}{more}")


def _success(found: dict[str, Any] | None) -> str:
    if found is None:
        return "unknown"
    return f"{found['value']:.1%} ({found['low']:.1%}–{found['high']:.1%})"
