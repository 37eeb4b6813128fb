"""Rebuilding the thinking of imported traces, turn by turn (Dyna-Think, arXiv 2506.00320, DIT step 2).

    dyna traces abbreviate --data data/teacher --out data/short
    dyna traces abbreviate --data data/teacher --method chat --model openai:gpt-5-mini --out data/short

Turns of at most ``keep_under`` tokens stay as they are (`KEEP_UNDER`). Of what an abbreviator returns for a
longer turn, the shortest valid text is taken; where none is valid or shorter, the turn keeps its full text.
"""

from __future__ import annotations

import platform
import time
from collections import Counter
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict, Field

from dyna_nodes.experience import Problem
from dyna_nodes.local.base import SMOLLM2
from dyna_nodes.nouns import Trajectory
from dyna_training.data import as_trajectories, read_records, trajectory_files
from dyna_training.traces.abbreviator import Abbreviator, Turn, invalid, new_share, turns_of
from dyna_training.traces.answers import Answers
from dyna_training.traces.importing import TracesError, publishing, write_manifest
from dyna_training.traces.report import REPORT, figures, markdown

FORMAT: Final = "dyna-abbreviation/1"
ANSWERS: Final = ".answers.partial"
"""What a chat model has answered so far; removed when all is written."""
Method = Literal["extractive", "structural", "chat"]
KEEP_UNDER: Final[dict[Method, int]] = {"extractive": 550, "structural": 0, "chat": 550}
"""Method to the tokens up to which turns stay untouched unless something else is said: the paper's 550 for a reasoning
model's thinking, none for thinking in the shared form, which is shorter than that throughout."""
Became = Literal["untouched", "shortened", "full"]


class AbbreviateSettings(BaseModel):
    """What is to be shortened, and how.

    Attributes:
        data: Files and folders of trajectories.
        out: Folder for the shortened ones.
        method: Which abbreviator.
        keep_under: Turns of at most so many tokens stay untouched.
        base: Model whose tokenizer counts.
        seed: Seeds the bootstrap.
        model: For the method ``chat``: the chat model, ``provider:model`` or ``local:base+adapter``.
        samples: For ``chat``: how many answers per turn; the shortest valid one is taken (5 in the paper).
        temperature: For ``chat``: of the model; None for its own.
        concurrency: For ``chat``: how many questions are open at a time.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: tuple[Path, ...]
    out: Path
    method: Method = "extractive"
    keep_under: int = Field(550, ge=0)
    base: str = SMOLLM2
    seed: int = 0
    model: str | None = None
    samples: int = Field(5, ge=1)
    temperature: float | None = Field(None, ge=0)
    concurrency: int = Field(8, ge=1)


class Tokenizer(Protocol):
    """What counts tokens: a tokenizer of ``transformers``."""

    def __call__(self, text: list[str], *, add_special_tokens: bool) -> Any:
        """Return ``input_ids``, one list per text."""
        ...


class Outcome(NamedTuple):
    """What became of a turn.

    Attributes:
        trajectory: Id of its trajectory.
        group: Environment, or the file it comes from.
        became: ``untouched``, ``shortened``, or ``full`` where the full text had to stay.
        before: Tokens of its thinking before.
        after: Tokens of its thinking after.
        reason: Why the full text stayed.
        new: Share of its sentences after that were not there before, in [0, 1].
        step: Its place in the trajectory, from 0.
    """

    trajectory: str
    group: str
    became: Became
    before: int
    after: int
    reason: str = ""
    new: float = 0.0
    step: int = 0


def make_abbreviator(settings: AbbreviateSettings, answers: Answers) -> Abbreviator:
    """Return the abbreviator that settings name.

    Args:
        settings: Which one, and how.
        answers: What a chat model has answered before.

    Raises:
        TracesError: The method needs a model that is not named.
        DynaError: There is no such model.
    """
    if settings.method == "chat":
        from dyna_training.traces.chat_abbreviator import ChatAbbreviator

        return ChatAbbreviator.from_settings(settings, answers)
    from dyna_training.traces.extractive import ExtractiveAbbreviator
    from dyna_training.traces.structural import StructuralAbbreviator

    return StructuralAbbreviator() if settings.method == "structural" else ExtractiveAbbreviator()


def load_tokenizer(base: str) -> Tokenizer:
    """Load the tokenizer of a base model, without the model.

    Raises:
        LocalModelError: There is no such model.
    """
    from dyna_nodes.local.base import LocalModelError, resolve_base

    path = resolve_base(base)
    try:
        from transformers import AutoTokenizer

        tokenizer: Tokenizer = AutoTokenizer.from_pretrained(path)
    except ImportError as error:
        raise LocalModelError(f"{error.name} is missing: pip install 'dyna-graph[local]'") from error
    except (OSError, ValueError) as error:
        raise LocalModelError(f"cannot load the tokenizer of {base!r} from {path}: {error}") from error
    return tokenizer


class Shortener:
    """Shortens the turns of trajectories and remembers what became of each.

    Args:
        abbreviator: Who shortens.
        tokenizer: Who counts.
        keep_under: Turns of at most so many tokens stay untouched.
    """

    def __init__(self, abbreviator: Abbreviator, tokenizer: Tokenizer, keep_under: int) -> None:
        self.abbreviator = abbreviator
        self.tokenizer = tokenizer
        self.keep_under = keep_under
        self.outcomes: list[Outcome] = []
        self.parts: Counter[str] = Counter()
        self.with_part: Counter[str] = Counter()
        self.rejected: Counter[str] = Counter()

    def count(self, texts: list[str]) -> list[int]:
        """Return the number of tokens of each text."""
        if not texts:
            return []
        return [len(ids) for ids in self.tokenizer(texts, add_special_tokens=False)["input_ids"]]

    def shorten(self, trajectory: Trajectory) -> Trajectory:
        """Return the trajectory with shortened thinking; everything else in it stays."""
        turns = list(turns_of(trajectory))
        before = self.count([turn.thought for _, turn in turns])
        long = [n for n, tokens in enumerate(before) if tokens > self.keep_under]
        answers = dict(zip(long, self.abbreviator.abbreviate([turns[n][1] for n in long]), strict=True))
        steps = list(trajectory.transitions)
        group = trajectory.provenance.environment or trajectory.provenance.thread
        for n, (index, turn) in enumerate(turns):
            text, after, became, reason = turn.thought, before[n], "untouched", ""
            if n in answers:
                self.rejected.update(answers[n].rejected)
                text, after, reason = self._shortest(turn, before[n], answers[n].candidates, answers[n].error)
                became = "full" if reason else "shortened"
                if not reason:
                    self.parts.update(answers[n].parts)
                    self.with_part.update(answers[n].parts.keys())
            new = new_share(text, turn.thought)
            self.outcomes.append(
                Outcome(trajectory.id, group, became, before[n], after, reason, new, index)  # type: ignore[arg-type]
            )
            steps[index] = steps[index].model_copy(update={"thought": text})
        made = {"method": self.abbreviator.name, "keep_under": self.keep_under}
        return trajectory.model_copy(
            update={
                "transitions": tuple(steps),
                "configuration": {**trajectory.configuration, "abbreviation": made},
            }
        )

    def _shortest(
        self, turn: Turn, tokens: int, candidates: Sequence[str], error: str
    ) -> tuple[str, int, str]:
        """Return text, tokens and why the full text stayed (empty when it did not)."""
        reason = error or "no candidate"
        for length, text in sorted(zip(self.count(list(candidates)), candidates, strict=True)):
            reason = invalid(text, turn, removes_only=self.abbreviator.removes_only)
            if not reason and length < tokens:
                return text, length, ""
            reason = reason or "nothing could be removed"
        return turn.thought, tokens, reason


def abbreviate(
    settings: AbbreviateSettings,
    *,
    command: str = "",
    abbreviator: Abbreviator | None = None,
    tokenizer: Tokenizer | None = None,
    on_trajectory: Callable[[int], None] = lambda _: None,
) -> dict[str, Any]:
    """Shorten the thinking of recorded trajectories.

    Args:
        settings: What to shorten, and how.
        command: The command line, for the manifest.
        abbreviator: Used instead of the one that the settings name.
        tokenizer: Used instead of that of the settings' base.
        on_trajectory: Called with the number of turns after each trajectory.

    Returns:
        The manifest.

    Raises:
        TracesError: There is nothing to shorten, the folder holds trajectories already, or a chat model only raises;
            what it has answered is kept, and the same call goes on.
        LocalModelError: The base has no tokenizer that can be loaded.
        DynaError: There is no such chat model.
    """
    try:
        files = trajectory_files(settings.data)
    except FileNotFoundError as error:
        raise TracesError(f"{error}, or `dyna traces import` makes some of logs") from error
    answers = Answers(settings.out / ANSWERS if settings.method == "chat" else None)
    shortener = Shortener(
        abbreviator or make_abbreviator(settings, answers),
        tokenizer or load_tokenizer(settings.base),
        settings.keep_under,
    )
    started = time.time()
    problems: list[Problem] = []
    seen: set[str] = set()
    with publishing(settings.out) as writer, answers:
        for file in files:
            for trajectory in as_trajectories(read_records(file, problems)):
                if trajectory.id in seen:
                    problems.append(Problem(file, 0, f"trajectory {trajectory.id} a second time", b""))
                    continue
                seen.add(trajectory.id)
                writer.append(shortener.shorten(trajectory))
                on_trajectory(len(trajectory.transitions))
        if not shortener.outcomes:
            raise TracesError(
                f"no thinking in {', '.join(map(str, settings.data))}; there is nothing to shorten"
            )
    manifest = {
        "format": FORMAT,
        "command": command,
        "settings": settings.model_dump(mode="json"),
        "trajectories": len(seen),
        "figures": figures(shortener.outcomes, seed=settings.seed),
        "parts": {
            part: {"sentences": count, "turns": shortener.with_part[part]}
            for part, count in shortener.parts.most_common()
        },
        "rejected_answers": dict(shortener.rejected.most_common()),
        "full": [
            {"trajectory": o.trajectory, "step": o.step, "reason": o.reason}
            for o in shortener.outcomes
            if o.became == "full"
        ],
        "seconds": round(time.time() - started, 1),
        "versions": {"python": platform.python_version(), "dyna-graph": version("dyna-graph")},
        "problems": [str(problem) for problem in problems],
    }
    (settings.out / REPORT).write_text(markdown(manifest), encoding="utf-8")
    write_manifest(settings.out, manifest)
    return manifest
