"""World-model accuracy inside a policy's thinking: ``dyna eval thinking``.

`turns` takes the simulation of each executed action out of the thinking and judges it, `figures` makes figures with
intervals of that, `correlation` holds them against success, `trivial` writes simulations by rote to compare with.
"""

from dyna_training.evaluation.thinking.correlation import Correlation, Figure, GameScore, correlation
from dyna_training.evaluation.thinking.figures import (
    Hallucination,
    Reading,
    Readings,
    ThinkingFigures,
    Trivial,
    figures_of,
    thinking_figures,
)
from dyna_training.evaluation.thinking.trivial import OpeningWorldModel, trivial
from dyna_training.evaluation.thinking.turns import (
    AnnotatorJudge,
    GroundedJudge,
    JudgedTurn,
    Judgement,
    ThinkingJudge,
    claim,
    judged_turns,
)

__all__ = [
    "AnnotatorJudge",
    "Correlation",
    "Figure",
    "GameScore",
    "GroundedJudge",
    "Hallucination",
    "JudgedTurn",
    "Judgement",
    "OpeningWorldModel",
    "Reading",
    "Readings",
    "ThinkingFigures",
    "ThinkingJudge",
    "Trivial",
    "claim",
    "correlation",
    "figures_of",
    "judged_turns",
    "thinking_figures",
    "trivial",
]
