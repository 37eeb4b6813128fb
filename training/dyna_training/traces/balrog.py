"""BALROG's episode logs: one CSV per episode, and beside it a JSON that says how the episode ended.

Each row holds a turn and what it led to. The observation of the first turn is not logged, a turn whose action
could not be parsed says so in place of the action, and where the environment ran another action instead, the
observation says which.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from dyna_nodes.nouns import Action, Provenance, Trajectory, Transition, digest_of
from dyna_training.traces.problems import Fate, Imported, Outcome, Reason, Reported
from dyna_training.traces.thinking import Reply, split_thinking, thought_text

COLUMNS: Final = ("Step", "Action", "Reasoning", "Observation", "Reward", "Done")
NOT_PARSED: Final = "Failed to obtain a valid action"
_TAG: Final = re.compile(r"<\|ACTION\|>(.*?)<\|END\|>", re.DOTALL)
_DEFAULTED: Final = re.compile(
    r"\A\s*Your previous output did not contain a valid action\. Defaulted to action: (.*?)\n+"
    r"Observation:\n(.*)\Z",
    re.DOTALL,
)


class Game(NamedTuple):
    """What the logs of a task do not say.

    Attributes:
        task: What the agent is to do.
        running_score: Whether the column Reward holds the score so far instead of the reward of the step.
    """

    task: str
    running_score: bool


GAMES: Final[Mapping[str, Game]] = {
    "treasure_hunter": Game("Find the object that the game asks for and take it.", True),
    "the_cooking_game": Game("Find the recipe, prepare the meal as it says, and eat it.", True),
    "coin_collector": Game("Find the coin and take it.", True),
}
"""The TextWorld tasks. Their first observation, which would say it, is not logged."""


def read_episode(path: Path) -> Iterator[Imported]:
    """Read one episode.

    Args:
        path: The CSV file; ``<name>.json`` beside it is read too.

    Raises:
        OSError: The file cannot be read at all.
    """
    file = str(path)
    raw = path.read_bytes()
    if not raw.strip():
        yield Imported(file, None, 0, [Reported(file=file, reason=Reason.EMPTY, detail="the file is empty")])
        return
    csv.field_size_limit(max(csv.field_size_limit(), len(raw) + 1))
    # Bytes that are not UTF-8 become lone surrogates, so that only their own turns are lost.
    rows = csv.DictReader(io.StringIO(raw.decode("utf-8-sig", "surrogateescape"), newline=""), strict=True)
    try:
        header = rows.fieldnames or ()
    except csv.Error:
        header = ()
    missing = [c for c in COLUMNS if c not in header]
    if missing:
        detail = f"no column {', '.join(missing)}; an episode log has {', '.join(COLUMNS)}"
        yield Imported(file, None, 0, [Reported(file=file, reason=Reason.FORMAT, detail=detail)])
        return
    episode = _Episode(file)
    end = _ending(path, episode)
    task = str(end.get("task") or path.stem.partition("_run_")[0])
    game = GAMES.get(task, Game(str(end.get("mission") or ""), False))
    last, broken = -1, ""
    while True:
        try:
            row = next(rows)
        except StopIteration:
            break
        except csv.Error as error:
            broken = broken or str(error)
            continue
        step = str(row["Step"])
        if broken:
            # Replies have several lines, and those of a broken row are read as rows of their own.
            if not (_whole(row) and step.isdecimal() and int(step) > last + 1):
                continue
            episode.lose(int(step) - last - 1, broken)
            broken = ""
        last = int(step) if step.isdecimal() else last + 1
        episode.take(row, game)
    if broken:
        episode.lose(1, broken)
    if not episode.turns:
        episode.report(Reason.EMPTY, "a header and no turn")
    expected = end.get("num_steps")
    if isinstance(expected, int) and expected != episode.turns:
        detail = f"{episode.turns} rows, but {Path(file).stem}.json says {expected} steps"
        episode.report(Reason.TRUNCATED, detail, fate=Fate.NOTED, whole=True)
    trajectory = episode.trajectory(task, game, end) if episode.steps else None
    yield Imported(file, trajectory, episode.turns, episode.reported)


class _Episode:
    def __init__(self, file: str) -> None:
        self.file = file
        self.turns = 0
        self.score = 0.0
        self.steps: list[Transition] = []
        self.reported: list[Reported] = []

    def report(
        self,
        reason: Reason,
        detail: str,
        *,
        fate: Fate = Fate.LEFT_OUT,
        turns: int = 0,
        whole: bool = False,
    ) -> None:
        self.reported.append(
            Reported(
                file=self.file,
                record=1,
                turn=None if whole else self.turns or None,
                reason=reason,
                detail=detail,
                fate=fate,
                turns=turns,
            )
        )

    def lose(self, turns: int, why: str) -> None:
        """Count turns whose rows cannot be read."""
        self.turns += turns
        self.report(Reason.TRUNCATED, f"the row is not whole: {why}", turns=turns)

    def take(self, row: Mapping[str, Any], game: Game) -> None:
        """Make a step of a row, and decide whether it is an example."""
        self.turns += 1
        cells = {name: row.get(name) for name in COLUMNS}
        if not _whole(row):
            self.report(Reason.TRUNCATED, f"the row has not {len(COLUMNS)} whole cells", turns=1)
            return
        if not all(_is_utf8(cell or "") for cell in cells.values()):
            self.report(Reason.ENCODING, "the row holds bytes that are no UTF-8", turns=1)
            return
        logged, observation = str(cells["Action"]).strip(), str(cells["Observation"])
        defaulted = _DEFAULTED.match(observation)
        executed = logged
        if defaulted is not None:
            executed, observation = defaulted[1].strip(), defaulted[2]
        if not executed:
            self.report(Reason.NO_ACTION, "the cell Action is empty", turns=1)
            return
        reply = split_thinking(str(cells["Reasoning"]))
        problem = self.problem(logged, executed, reply)
        if problem is not None:
            self.report(*problem, fate=Fate.READ, turns=1)
        self.steps.append(
            Transition(
                thought="" if problem else thought_text(reply.thinking, _TAG.sub("", reply.answer)),
                action=Action.command(executed),
                observation=observation,
                reward=self.reward(str(cells["Reward"]), game),
                done=cells["Done"] == "True",
                labels={"expert": 0.0} if problem else {},
                time=0.0,
            )
        )

    def problem(self, logged: str, executed: str, reply: Reply) -> tuple[Reason, str] | None:
        """Say why a turn is no example; None when it is one."""
        if logged.startswith(NOT_PARSED):
            why = (
                "the reply was cut off inside its thinking" if not reply.closed else "no action in the reply"
            )
            return Reason.NOT_PARSED, f"{why}; the environment was given {executed!r}"
        if logged != executed:
            return Reason.FAILED, f"{logged!r} is no action here; the environment ran {executed!r}"
        if not reply.closed:
            return Reason.UNCLOSED, "the reply ends inside its thinking"
        if not reply.thinking:
            return Reason.NO_THINKING, ""
        if self.turns == 1:
            return Reason.UNSEEN, "the log has no first observation"
        return None

    def reward(self, cell: str, game: Game) -> float | None:
        """Return the reward of this step alone."""
        try:
            value = float(cell)
        except ValueError:
            return None
        before, self.score = self.score, value
        return value - before if game.running_score else value

    def trajectory(self, task: str, game: Game, end: Mapping[str, Any]) -> Trajectory:
        """Return the episode as a trajectory."""
        id = digest_of("balrog", self.file)[:32]
        progression, mission = end.get("progression"), end.get("mission")
        outcome: Outcome = "unknown" if progression is None else "success" if progression >= 1 else "failure"
        kept = ("agent", "client", "progression", "episode_return", "seed")
        model = end.get("client", {}).get("model_id", "") if isinstance(end.get("client"), Mapping) else ""
        return Trajectory(
            id=id,
            task=f"{game.task or mission or task}",
            transitions=tuple(
                step.model_copy(update={"id": f"{id}-{i}", "trajectory": id, "index": i})
                for i, step in enumerate(self.steps)
            ),
            outcome=outcome,
            configuration={"format": "balrog", **{key: end[key] for key in kept if key in end}},
            provenance=Provenance(
                source="agent", policy=str(model), environment=f"balrog:{task}", thread=self.file
            ),
        )


def _whole(row: Mapping[Any, Any]) -> bool:
    return None not in row and None not in row.values() and row["Done"] in ("True", "False")


def _is_utf8(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _ending(path: Path, episode: _Episode) -> Mapping[str, Any]:
    """Return what the JSON beside an episode says; what is wrong with it is reported."""
    beside = path.with_suffix(".json")
    try:
        end = json.loads(beside.read_bytes())
    except FileNotFoundError:
        detail = f"there is no {beside.name} beside it, so the outcome is unknown"
        episode.report(Reason.FORMAT, detail, fate=Fate.NOTED, whole=True)
        return {}
    except ValueError as error:
        detail = f"{beside.name} cannot be read ({error}), so the outcome is unknown"
        episode.report(Reason.FORMAT, detail, fate=Fate.NOTED, whole=True)
        return {}
    if not isinstance(end, dict):
        episode.report(Reason.FORMAT, f"{beside.name} holds no object", fate=Fate.NOTED, whole=True)
        return {}
    if not isinstance(end.get("progression"), int | float):
        end = {**end, "progression": None}
    return end
