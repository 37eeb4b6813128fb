"""The end of the demo on the screen: these games beside the recorded evaluation, and what changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from dyna_training.demo.record import ARMS, Arm, Play
from dyna_training.demo.recorded import Evaluation, Recorded
from dyna_training.demo.report import ArmFigures, changed, figures, tally
from dyna_training.demo.verify import Overruling
from dyna_training.demo.view import ARM_NAMES, View

RECORDED: dict[str, Arm] = {"greedy": "without", "trained": "with"}
"""Arms of a recorded evaluation, and the demo's arms that they are."""


def show_closing(
    view: View,
    plays: Sequence[Play],
    found: Sequence[Overruling],
    recorded: Recorded,
    *,
    finished: bool,
    seconds: float,
    files: Mapping[str, Path],
) -> None:
    """Print table, sentence and where everything was saved.

    Args:
        view: The screen.
        plays: The games as far as they were played.
        found: Where the policy was overruled, verified in forks.
        recorded: The recorded evaluation, and what is to be known about it.
        finished: False when games were left unfinished.
        seconds: Wall-clock time of everything.
        files: What was written.
    """
    view.rule(Text("What the world model changed", "bold"))
    if not finished:
        view.print(Text("Interrupted: the table counts the games that were finished.", "yellow"))
    view.console.print(figures_table(view, plays, recorded.evaluation), width=view.width)
    for note in recorded.notes:
        view.print(_plain(view, note, "dim"))
    steps = sum(len(p.turns) for p in plays if p.arm == "with")
    view.console.print()
    view.print(_plain(view, changed(found, steps)))
    if found:
        view.print(_plain(view, tally(found, steps)))
    view.console.print()
    for name, path in files.items():
        view.lines(Text(f"{name:<13}", "dim"), view.text(str(path)), most=9)
    view.print(view.text(f"{seconds:.0f} seconds in all", "dim"))


def figures_table(view: View, plays: Sequence[Play], evaluation: Evaluation | None) -> Table:
    """Return the table: these games, and below them the recorded ones."""
    table = Table(box=box.ASCII if view.ascii_only else box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("")
    for heading in ("solved", "steps", "no effect", "tokens", "seconds"):
        table.add_column(heading, justify="right")
    number = len({p.game.number for p in plays})
    table.add_row(Text(f"These {number} games" if number != 1 else "This game", "bold"))
    for arm in ARMS:
        table.add_row(*_row(ARM_NAMES[arm], figures(plays, arm)))
    if evaluation is not None:
        table.add_section()
        table.add_row(Text("Recorded before", "bold"))
        names = {name: ARM_NAMES[same] for name, same in RECORDED.items()}
        control = next((v["control"] for v in evaluation.verdicts), None)
        if control is not None:
            names.setdefault(control, f"best control: {control}")
        for name, called in names.items():
            if name in evaluation.arms:
                table.add_row(*_recorded_row(view, called, evaluation.arms[name]))
    return table


def _row(name: str, arm: ArmFigures) -> list[str]:
    if not arm.games:
        return [f"  {name}", "0/0"]
    return [
        f"  {name}",
        f"{arm.successes}/{arm.games}",
        f"{arm.steps:.1f}",
        f"{arm.invalid:.1f}",
        f"{arm.tokens:,.0f}",
        f"{arm.seconds:.0f}",
    ]


def _recorded_row(view: View, name: str, arm: Mapping[str, Any]) -> list[str]:
    def mean(key: str) -> float | None:
        value = arm.get(key)
        return value[0] if isinstance(value, list | tuple) else value

    def number(key: str, form: str) -> str:
        value = mean(key)
        return "" if value is None else format(value, form)

    success = arm.get("success")
    solved = number("success", ".0%")
    if isinstance(success, list | tuple) and len(success) == 3:
        solved += f" ({success[1]:.0%}{'-' if view.ascii_only else '–'}{success[2]:.0%})"
    tokens = [mean(key) for key in ("policy_tokens", "model_tokens")]
    return [
        f"  {name}",
        solved,
        number("steps", ".1f"),
        number("invalid", ".1f"),
        f"{sum(t for t in tokens if t is not None):,.0f}" if any(tokens) else "",
        number("seconds", ".0f"),
    ]


def _plain(view: View, sentence: str, style: str = "") -> Text:
    text = view.text(sentence, style)
    text.no_wrap = False
    return text
