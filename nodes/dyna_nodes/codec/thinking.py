"""Thinking with simulation inside a policy's response: how it is written, read and held against what happened.

Dyna-Think (arXiv 2506.00320, section 3) keeps of a turn's thinking the verification of the last action, the
candidates, and the simulated outcome of what is executed. Here each of these is a line of its own, so that a small
model can learn the form and a program can read it without another model:

    Check: the mug 1 is in my hand, as I thought.
    Options: go to fridge 1; go to microwave 1.
    If I go to microwave 1: You arrive at microwave 1. The microwave 1 is closed.
    If I go to fridge 1: You arrive at fridge 1. Maybe I see a egg.
    The mug has to be cool, and only the fridge cools.
    So I go to fridge 1.
    > go to fridge 1

An outcome is in the words of the environment. What the history cannot tell is a *hypothesis*, a sentence that begins
with ``Maybe I see``. A critique (``Yes, …`` or ``Wait, …``) stands on the line after the simulation it is about.
Thinking in any other form has remarks only; a chat model has to extract the simulations from it.
"""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple

from dyna_nodes.codec.actions import parse_action
from dyna_nodes.codec.outcome import parse_answer

PartKind = Literal["verification", "candidates", "simulation", "critique", "decision", "remark"]

CHECK: Final = "Check: "
OPTIONS: Final = "Options: "
IF: Final = "If I "
SO: Final = "So I "
CORRECT: Final = "Yes, "
WRONG: Final = "Wait, "
MAYBE: Final = "Maybe I see "
_OPENINGS: Final[tuple[tuple[str, PartKind], ...]] = (
    (CHECK, "verification"),
    (OPTIONS, "candidates"),
    (SO, "decision"),
    (CORRECT, "critique"),
    (WRONG, "critique"),
)
# A command has no colon; a tool call's arguments are JSON and have some.
_SIMULATION: Final = re.compile(r"If I (?P<action>[\w.-]+\(\{.*\}\)|[^:\n]+): (?P<outcome>\S.*)")
_SENTENCE: Final = re.compile(r"[^.!?]+[.!?]?")


class ThinkingPart(NamedTuple):
    """A line of thinking.

    Attributes:
        kind: What it does.
        text: The line.
        start: Where it begins in the thinking, in characters.
    """

    kind: PartKind
    text: str
    start: int

    @property
    def end(self) -> int:
        """Where it ends in the thinking, in characters; the newline is not part of it."""
        return self.start + len(self.text)


class InnerSimulation(NamedTuple):
    """What a policy's thinking imagines that an action does.

    Attributes:
        action: The action's text.
        outcome: What it is imagined to do.
        start: Where the line begins in the thinking, in characters.
        end: Where it ends.
    """

    action: str
    outcome: str
    start: int
    end: int

    @property
    def certain(self) -> str:
        """The outcome without its hypotheses, and without its tags, which are no observation."""
        said = sentences(parse_answer(self.outcome).observation)
        return " ".join(s for s in said if not s.startswith(MAYBE))

    @property
    def hypotheses(self) -> tuple[str, ...]:
        """What the outcome says may be seen, such as ``a mug``."""
        said = sentences(parse_answer(self.outcome).observation)
        found = (s for s in said if s.startswith(MAYBE))
        return tuple(s.removeprefix(MAYBE).rstrip(".!? ") for s in found)


def simulation_line(action: str, outcome: str) -> str:
    """Write the simulation of an action; newlines in the outcome become spaces."""
    return f"{IF}{action}: {' '.join(outcome.split())}"


def parts(thinking: str) -> list[ThinkingPart]:
    """Return the lines of a thinking that are not empty, each with what it does."""
    found, start = [], 0
    for line in thinking.split("\n"):
        if line.strip():
            found.append(ThinkingPart(_kind(line), line, start))
        start += len(line) + 1
    return found


def _kind(line: str) -> PartKind:
    if _SIMULATION.fullmatch(line):
        return "simulation"
    return next((kind for opening, kind in _OPENINGS if line.startswith(opening)), "remark")


def simulations(thinking: str) -> list[InnerSimulation]:
    """Return what a thinking imagines, in order."""
    found = []
    for part in parts(thinking):
        match = _SIMULATION.fullmatch(part.text)
        if match is not None:
            found.append(
                InnerSimulation(match["action"].strip(), match["outcome"].strip(), part.start, part.end)
            )
    return found


def simulation_of(thinking: str, action: str) -> InnerSimulation | None:
    """Return the last simulation of an action; None where the thinking has none.

    Tool calls are the same when tool and arguments are, however their JSON is written.
    """
    wanted = _canonical(action)
    return next((s for s in reversed(simulations(thinking)) if _canonical(s.action) == wanted), None)


def _canonical(action: str) -> str:
    try:
        return parse_action(action).text
    except ValueError:  # not a call that can be read: it is what it says
        return action.strip()


def sentences(text: str) -> list[str]:
    """Return the sentences of a text, stripped."""
    return [s for s in (match.strip() for match in _SENTENCE.findall(" ".join(text.split()))) if s]


def certain_holds(simulation: InnerSimulation, observation: str) -> bool:
    """Return whether every certain sentence of a simulation is a sentence of what was observed.

    A simulation need not say everything. One that is all hypotheses holds.
    """
    real = set(sentences(observation))
    return all(sentence in real for sentence in sentences(simulation.certain))


def hypothesis_holds(hypothesis: str, observation: str) -> bool:
    """Return whether what was thought possible is seen: its words stand in the observation, in order.

    The article of a thing that is looked for, ``the carrot``, need not: it is seen as ``a raw carrot`` first.
    """
    thing = hypothesis.removeprefix("the ")
    return bool(thing) and re.search(rf"\b{re.escape(thing)}\b", observation) is not None


def holds(simulation: InnerSimulation, observation: str) -> bool:
    """Return whether a simulation came true: all that it was certain of, and everything that it supposed."""
    supposed = all(hypothesis_holds(h, observation) for h in simulation.hypotheses)
    return certain_holds(simulation, observation) and supposed
