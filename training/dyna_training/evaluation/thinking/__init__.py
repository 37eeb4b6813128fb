"""World-model accuracy inside a policy's thinking: ``dyna eval thinking``.

`turns` takes the simulation of each executed action out of the thinking and judges it, `figures` makes figures with
intervals of that, `correlation` holds them against success, `trivial` writes simulations by rote to compare with.
`states` draws recorded states and finds out what actions do there, `asking` asks policies in them, `run` does all of
it, and `report` and `plots` show it.
"""

from dyna_training.evaluation.thinking.correlation import Correlation, Figure, GameScore, correlation
from dyna_training.evaluation.thinking.figures import figures_of, thinking_figures
from dyna_training.evaluation.thinking.results import (
    Hallucination,
    Reading,
    Readings,
    ThinkingFigures,
    Trivial,
)
from dyna_training.evaluation.thinking.trivial import trivial
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
