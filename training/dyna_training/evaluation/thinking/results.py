"""The figures of world-model accuracy inside thinking, as they are handed on and written down."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from dyna_training.evaluation.thinking.correlation import Correlation, Figure

FORMAT: Final = "dyna-thinking-figures/1"
By = Literal["action", "knowledge", "effect", "task_type"]
"""By what turns are split."""


class _Figures(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Reading(_Figures):
    """One way to count simulations.

    Attributes:
        coverage: Share of turns with a simulation that can be counted so.
        accuracy: Share of these that came true.
        product: Coverage × accuracy: share of turns with a simulation that came true.
    """

    coverage: Figure
    accuracy: Figure
    product: Figure


class Readings(_Figures):
    """The ways to count simulations.

    Attributes:
        strict: All of it has to come true, hypotheses included.
        certain: What it is certain of has to come true; one that is certain of nothing is not counted.
        informed: Where the history determines what is observed, it has to say all of that and nothing else; elsewhere
            something for certain, and nothing that is false. Not counted where nobody can tell what is determined.
        exact: It has to say all that was observed, and nothing else.
    """

    strict: Reading
    certain: Reading
    informed: Reading
    exact: Reading


class Hallucination(_Figures):
    """Statements about what the history does not determine.

    Attributes:
        facts: Share of all certain sentences that are about such a turn, and not true.
        turns: Share of turns with a simulation that have such a sentence.
        open_turns: The same, among turns with a simulation whose observation the history does not determine.
        hypotheses: Share of the hypotheses that came true.
    """

    facts: Figure
    turns: Figure
    open_turns: Figure
    hypotheses: Figure


class Trivial(_Figures):
    """What simulations written by rote would score on the same turns.

    Attributes:
        name: Who writes.
        all_turns: Share of all turns on which it is right; it simulates every turn.
        covered_turns: The same among the turns that the policy simulated.
        informed: Share of all turns on which it is informed, see `Readings`.
        exact: Share of all turns on which it says all that was observed.
        lead: The policy's coverage × accuracy less `all_turns`, paired.
        lead_covered: The policy's accuracy less `covered_turns`, paired.
        lead_informed: The policy's share of all turns on which it is informed less `informed`, paired.
    """

    name: str
    all_turns: Figure
    covered_turns: Figure
    informed: Figure
    exact: Figure
    lead: Figure
    lead_covered: Figure
    lead_informed: Figure


class Mistake(_Figures):
    """A simulation that did not come true."""

    trajectory: str
    index: int
    action: str
    knowledge: str | None
    imagined: str | None
    observed: str


class ThinkingFigures(_Figures):
    """World-model accuracy inside the thinking of one policy.

    Attributes:
        trajectories: How many.
        games: Of how many games.
        turns: Judged turns; every share is of these.
        unjudged: Turns on which the judge failed, left out everywhere, by reason.
        judged_by: Turns by who judged them.
        unread: Turns whose thinking is in a form that the judge cannot read; they count as not simulated.
        without_action: Turns without an action, which count as not simulated; only asked-for turns can be so.
        overall: Over all turns.
        by: The same by action type (first word of the command, or tool), by what the history determines, by
            whether anything happened, and by task type.
        hallucination: Statements about what the history does not determine; None where nobody can tell what it
            determines, or the judge does not count sentences.
        trivial: Simulations by rote beside it.
        correlation: Of coverage × accuracy with success, over games; None where nothing was played to its end.
        correlation_covered: Of accuracy among simulated turns with success.
        success: Share of trajectories that solved the task; None where nothing was played to its end.
        mistakes: Some of the wrong simulations.
    """

    format: Literal["dyna-thinking-figures/1"] = FORMAT
    trajectories: int
    games: int
    turns: int
    unjudged: Mapping[str, int] = Field(default_factory=dict)
    judged_by: Mapping[str, int] = Field(default_factory=dict)
    unread: int = 0
    without_action: int = 0
    overall: Readings
    by: Mapping[By, Mapping[str, Readings]] = Field(default_factory=dict)
    hallucination: Hallucination | None = None
    trivial: tuple[Trivial, ...] = ()
    correlation: Correlation | None = None
    correlation_covered: Correlation | None = None
    success: Figure | None = None
    mistakes: tuple[Mistake, ...] = ()
