"""The demo on the screen: one game after the other, each step in a few calm lines, then the figures.

Works in 80 columns, without colours and without Unicode. What models and games say is shown as text and
nothing else.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.rule import Rule
from rich.spinner import Spinner
from rich.text import Text

from dyna_graph.config import DynaConfig
from dyna_nodes.nouns import Decision, Transition
from dyna_training.demo.play import Playing
from dyna_training.demo.record import Candidate, DemoGame, Play, Round, Turn
from dyna_training.demo.report import one_line

PACES = {"without": 0.06, "with": 0.2}
"""Seconds between two steps on a terminal, so that the eye can follow games that were faster."""
NARROWEST, WIDEST = 48, 110
UNICODE = {"ran": "▸", "veto": "✗", "ok": "✓", "differs": "≠", "to": "→", "times": "×", "line": "─"}
ASCII = {"ran": ">", "veto": "x", "ok": "=", "differs": "!", "to": "->", "times": "x", "line": "-"}
MEANINGS = {"ran": "runs", "veto": "vetoed", "ok": "as imagined", "differs": "not so"}
ARM_NAMES = {"without": "without world model", "with": "with world model"}


class View:
    """Shows a demo.

    Args:
        console: Where.
        ascii_only: Use no character beyond ASCII.
    """

    def __init__(self, console: Console, *, ascii_only: bool) -> None:
        self.console = console
        self.signs = ASCII if ascii_only else UNICODE
        self.ascii_only = ascii_only
        self.width = max(NARROWEST, min(console.width, WIDEST))
        self._action_width = min(34, (self.width - 10) // 2)
        # What is redrawn would be in the recording each time that it was drawn.
        self._moves = console.is_terminal and not console.record

    def text(self, text: str, style: str = "") -> Text:
        """Return a text that cannot disturb the screen: one line, no control characters."""
        line = one_line(text)
        if self.ascii_only:
            line = line.translate(_PLAIN).encode("ascii", "replace").decode()
        return Text(line, style=style)

    def print(self, *parts: RenderableType, indent: int = 0, fold: bool = True) -> None:
        """Print parts below each other, no wider than `WIDEST`."""
        for part in parts:
            body = Padding(part, (0, 0, 0, indent), expand=False) if indent else part
            self.console.print(
                body, width=self.width, no_wrap=not fold, overflow="fold" if fold else "ellipsis"
            )

    def cut(self, text: Text, width: int) -> Text:
        """Return a text of exactly ``width`` cells, cut or padded."""
        text = text.copy()
        if text.cell_len > width:
            end = "..." if self.ascii_only else "…"
            text.truncate(width - len(end))
            text.append(end)
        text.pad_right(width - text.cell_len)
        return text

    def lines(self, head: Text, body: Text, *, most: int = 2) -> None:
        """Print ``head`` and beside it ``body``, folded to at most ``most`` lines."""
        room = self.width - head.cell_len - 1
        folded = list(body.wrap(self.console, room))
        if len(folded) > most:
            for line in folded:
                line.rstrip()
            rest = Text(" ").join(folded[most - 1 :])
            folded = [*folded[: most - 1], self.cut(rest, room)]
        for line in folded or [Text("")]:
            line.rstrip()
            self.console.print(Text.assemble(head, line), no_wrap=True, overflow="ignore", crop=False)
            head = Text(" " * head.cell_len)

    def rule(self, title: Text | str, style: str = "dim") -> None:
        """Print a line with a title in it."""
        self.console.print()
        self.console.print(
            Rule(title, characters=self.signs["line"], style=style, align="left"), width=self.width
        )

    def opening(self, config: DynaConfig, games: Sequence[DemoGame]) -> None:
        """Say what is going to happen, and what the lines mean."""
        split = games[0].split
        plural = "s" * (len(games) != 1)
        which = f"new household{plural}, unseen in training"
        if split != "generated":
            which = f"official game{plural} of {split}"
        world_model = config.world_model.model.name if config.world_model.model else config.world_model.kind
        self.rule(Text("dyna demo", "bold"))
        for name, value in (
            ("games", f"{len(games)} {which}; at most {config.limits.max_steps} steps each"),
            ("policy", config.policy.name),
            ("world model", f"{world_model}, imagines {config.simulate.candidates} candidates per step"),
        ):
            self.lines(Text(f"{name:<13}", "dim"), self.text(value), most=3)
        legend = [f"{self.signs[sign]} {meaning}" for sign, meaning in MEANINGS.items()]
        self.lines(Text(f"{'signs':<13}", "dim"), Text("  ".join([*legend, "0.42 imagined return"]), "dim"))

    @contextmanager
    def working(self, what: str) -> Iterator[None]:
        """Show that something is under way: a spinner with the seconds on a terminal, else one line."""
        if not self._moves:
            self.print(self.text(what))
            yield
            return
        began = time.monotonic()
        spinner = _Status(lambda: self.text(f"{what} {time.monotonic() - began:.0f} s", "dim"))
        with Live(spinner, console=self.console, transient=True, refresh_per_second=8):
            yield

    @contextmanager
    def progress(self, playings: Sequence[Playing]) -> Iterator[None]:
        """Keep a line at the bottom that says how far all games are."""
        if not self._moves:
            yield
            return
        began = time.monotonic()
        status = _Status(lambda: self._progress(playings, time.monotonic() - began))
        with Live(status, console=self.console, transient=True, refresh_per_second=8):
            yield

    def _progress(self, playings: Sequence[Playing], seconds: float) -> Text:
        parts = []
        for number in sorted({p.game.number for p in playings}):
            mine = [p for p in playings if p.game.number == number]
            parts.append(f"{number}: {'/'.join(self._steps(p) for p in mine)}")
        return self.text(f"{seconds:3.0f} s, steps in game {'  '.join(parts)}", "dim")

    def _steps(self, playing: Playing) -> str:
        return f"{len(playing.recorder.turns)}{self.signs['ok'] if playing.finished else ''}"

    async def follow(self, playings: Sequence[Playing]) -> None:
        """Show all plays one after the other, each as far as it has come and then as it goes on."""
        shown: DemoGame | None = None
        total = len({p.game.number for p in playings})
        for playing in playings:
            if playing.game != shown:
                shown = playing.game
                self.game(shown, total)
            self.arm(playing.arm)
            number = 0
            try:
                async for turn in playing.turns():
                    number += 1
                    self.turn(number, turn, brief=playing.arm == "without")
                    if self.console.is_terminal:
                        await asyncio.sleep(PACES[playing.arm])
            finally:
                self.end(playing.play())

    def game(self, game: DemoGame, total: int) -> None:
        """Begin a game."""
        source = f"household {game.seed}" if game.seed is not None else game.split
        self.rule(
            Text.assemble((f"Game {game.number} of {total}  ", "bold"), self.text(game.task, "bold cyan"))
        )
        self.print(
            self.text(f"{source}; a guide who knows where everything is needs {game.steps} steps", "dim")
        )

    def arm(self, arm: str) -> None:
        """Begin an arm of a game."""
        self.console.print()
        self.print(Text(ARM_NAMES[arm].capitalize(), style="bold"))

    def turn(self, number: int, turn: Turn, *, brief: bool) -> None:
        """Show an executed step: in one line, or with all that was imagined."""
        if brief:
            self._brief(number, turn)
            return
        thought = self.text(turn.transition.thought or "(no thought)", "italic")
        self.print(Text.assemble((f"{number:>3}  ", "bold"), thought))
        for round_ in turn.rounds:
            self._round(round_)
        self._reality(turn)

    def _brief(self, number: int, turn: Turn) -> None:
        style = "red" if turn.no_effect else "green" if _solved(turn.transition) else "dim"
        action = self.cut(self.text(turn.transition.action.text), self._action_width)
        self.lines(
            Text.assemble((f"{number:>3}  ", "bold"), "  ", action, f" {self.signs['to']} "),
            self.text(turn.transition.observation, style),
            most=1,
        )

    def _round(self, round_: Round) -> None:
        chosen = round_.candidates[round_.chosen]
        for candidate, count in _merged(round_):
            runs = round_.ran and candidate.action == chosen.action
            vetoed = candidate.verdict is not None and candidate.verdict.decision is Decision.REJECT
            sign = self.signs["ran"] if runs else self.signs["veto"] if vetoed else " "
            style = "bold cyan" if runs else "red" if vetoed else ""
            times = f" {self.signs['times']}{count}" if count > 1 else ""
            action = self.cut(self.text(candidate.text, style), self._action_width - 3 - len(times))
            action.append(times, "dim")
            value = "" if candidate.value is None else f"{candidate.value:.2f}"
            self.lines(
                Text.assemble(
                    (f"     {sign} ", style), action, (f" {value:>4} ", "dim"), f"{self.signs['to']} "
                ),
                self._imagined(candidate),
            )
        if not round_.ran:
            self.print(self.text("all were vetoed; the policy is asked again", "red"), indent=7)

    def _imagined(self, candidate: Candidate) -> Text:
        prediction = candidate.prediction
        if prediction is None:
            return Text("(not imagined)", "dim")
        if prediction.error is not None:
            return self.text(f"no prediction: {prediction.error}", "yellow")
        solved = Text("task solved! " if prediction.success else "", "green")
        return Text.assemble(solved, self.text(prediction.observation or "", "dim"))

    def _reality(self, turn: Turn) -> None:
        transition = turn.transition
        exact, f1 = transition.scores.get("exact"), transition.scores.get("f1", 0.0)
        surprise, holds = transition.scores.get("surprise"), transition.scores.get("holds")
        inner = transition.scores.get("inner_holds")
        if exact == 1.0:
            said = Text("as imagined", "green")
            said.append(": nothing happened" if turn.no_effect else "", "red")
        else:
            said = self.text(transition.observation)
            if holds == 1.0:
                said.append("  (all that was imagined came true)", "green")
            elif holds is not None:
                said.append("  (not as imagined)", "yellow")
            elif exact is not None:
                said.append(f"  ({f1:.0%} of the words as imagined)", "yellow")
        if surprise is not None:
            said.append(f"  surprise {surprise:.2f}", "dim")
        if inner is not None:
            said.append(
                f"  the policy's own simulation {'came true' if inner else 'did not come true'}", "dim"
            )
        sign, style = (self.signs["differs"], "yellow")
        if exact == 1.0 or holds == 1.0:
            sign, style = (self.signs["ok"], "green")
        if _solved(transition):
            said.append("  task solved", "bold green")
        self.lines(
            Text.assemble((f"     {sign} ", style), ("really ", "dim"), f"{self.signs['to']} "), said, most=4
        )

    def end(self, play: Play) -> None:
        """Say how a play ended."""
        steps = f"{len(play.turns)} step{'s' * (len(play.turns) != 1)}"
        useless = f", {play.invalid} of them did nothing" if play.invalid else ""
        words = {
            "success": f"Solved in {steps}{useless}.",
            "truncated": f"Not solved in {steps}{useless}.",
            "failure": f"Gave up after {steps}{useless}.",
            "unknown": f"Unfinished after {steps}{useless}.",
        }
        styles = {"success": "bold green", "unknown": "yellow"}
        self.print(self.text(words[play.outcome], styles.get(play.outcome, "bold red")), indent=5)


class _Status:
    """A spinner with a text that is made anew whenever it is drawn."""

    def __init__(self, text: Callable[[], Text]) -> None:
        self._text = text
        self._spinner = Spinner("dots", style="cyan")

    def __rich__(self) -> RenderableType:
        self._spinner.update(text=self._text())
        return self._spinner


_PLAIN = str.maketrans({"“": '"', "”": '"', "’": "'", "…": ".", "×": "x", "–": "-"})


def _merged(round_: Round) -> list[tuple[Candidate, int]]:
    """Return the candidates with equal ones counted instead of repeated."""
    counts: dict[str, int] = {}
    first: dict[str, Candidate] = {}
    for candidate in round_.candidates:
        counts[candidate.text] = counts.get(candidate.text, 0) + 1
        first.setdefault(candidate.text, candidate)
    return [(candidate, counts[text]) for text, candidate in first.items()]


def _solved(transition: Transition) -> bool:
    return bool(transition.done and (transition.reward or 0) > 0)
