"""An abbreviator of thinking in the shared form: five kinds of lines stay, the others go.

The form (`dyna_nodes.codec.thinking`) marks what a line does, so the five parts that Dyna-Think keeps (arXiv
2506.00320, DIT) can be told without a model: the verification of the last step, the candidates, the simulation of the
executed action with its critique, what connects it to the choice, and the decision. Detours and the simulations of
other candidates go.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from dyna_nodes.codec.thinking import SO, parts, simulation_of
from dyna_training.traces.abbreviator import Abbreviation, Turn

NOT_THE_FORM: Final = (
    "it is not in the form of thinking that simulates, with a decision for the executed action"
)


class StructuralAbbreviator:
    """Keeps the lines of the five parts, word for word."""

    name = "structural"
    removes_only = True

    def abbreviate(self, turns: Sequence[Turn]) -> list[Abbreviation]:
        """Shorten turns; one answer per turn, in their order."""
        return [_abbreviate(turn) for turn in turns]


def _abbreviate(turn: Turn) -> Abbreviation:
    lines, action = parts(turn.thought), turn.action.text
    decided = [i for i, line in enumerate(lines) if line.text.rstrip(". ") == f"{SO}{action}".rstrip(". ")]
    if not decided:
        return Abbreviation((), error=NOT_THE_FORM)
    end = decided[-1]
    kept = {end: "decision"}
    simulation = simulation_of(turn.thought, action)
    for i, line in enumerate(lines[:end]):
        if line.kind in ("verification", "candidates") and line.kind not in kept.values():
            kept[i] = line.kind
        elif simulation is not None and line.start == simulation.start:
            kept[i] = "simulation"
            if lines[i + 1].kind == "critique":
                kept[i + 1] = "critique"
    connective = end - 1
    if connective >= 0 and lines[connective].kind == "remark":
        kept[connective] = "connective"
    text = "\n".join(lines[i].text for i in sorted(kept))
    return Abbreviation((text,), dict.fromkeys(kept.values(), 1))
