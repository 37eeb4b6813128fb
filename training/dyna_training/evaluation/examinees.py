"""Who is examined: models whose weights are at hand by teacher forcing, everybody else by being asked."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

from pydantic import BaseModel, ConfigDict

from dyna_nodes.codec import Context, Outcome
from dyna_nodes.codec.outcome import rounded
from dyna_nodes.nouns import Prediction, Query, Trajectory, digest_of
from dyna_nodes.protocols import WorldModel
from dyna_nodes.scoring import token_f1
from dyna_nodes.world_models import TrainedWorldModel
from dyna_training.evaluation.episodes import content, game_of
from dyna_training.evaluation.forcing import Forced, ForcingModel, TooLongError

BOTH: Final[tuple[Context, ...]] = ("agent", "privileged")


VERSION: Final = 2
"""Of the outcomes: cached ones of another version are not used."""


class StepOutcome(BaseModel):
    """What a model said about one step; None is what nobody knows.

    Attributes:
        exact: Observation and success flag are those that really came.
        observation: The predicted observation; None in episodes without generation, or the model gave none.
        success: The predicted success flag; likewise.
        reward: The predicted reward, 1 or 0 where only success says it; likewise.
        done: Whether the end of the episode is predicted; likewise.
        success_after: The success flag that is predicted after the real observation.
        f1: Word-level F1 of the observation; None in episodes without generation, 0 where the model gave none.
        surprise: −log p of the real answer, in nats, over all its tokens, end-of-turn included.
        tokens: Number of these tokens.
        confidence: The model's confidence in its own answer.
        value: Imagined return, after the imagined observation.
        value_after: Return read off after the real observation.
        value_blind: Return read off before any observation.
        error: Why there is no answer.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    exact: bool
    observation: str | None = None
    success: bool | None = None
    reward: float | None = None
    done: bool | None = None
    success_after: bool | None = None
    f1: float | None = None
    surprise: float | None = None
    tokens: int | None = None
    confidence: float | None = None
    value: float | None = None
    value_after: float | None = None
    value_blind: float | None = None
    error: str | None = None


class Examinee(Protocol):
    """Answers for every step of a trajectory, given the real history before it."""

    name: str

    def key(self, trajectory: Trajectory, context: Context) -> str:
        """Return a digest of everything that the outcomes depend on."""
        ...

    def examine(self, trajectories: Sequence[Trajectory], context: Context) -> list[list[StepOutcome]]:
        """Return, for each trajectory, one outcome per step."""
        ...


def queries(trajectory: Trajectory, context: Context) -> list[Query]:
    """Return the question that each step answers, with the real history before it."""
    privileged = context == "privileged"
    return [
        Query(history=trajectory.history(index, privileged=privileged), action=step.action)
        for index, step in enumerate(trajectory.transitions)
    ]


def truth(trajectory: Trajectory) -> list[Outcome]:
    """Return what each step really led to."""
    return [Outcome.of(step) for step in trajectory.transitions]


class AskedExaminee:
    """Any world model, asked step by step.

    Args:
        name: Name in the results.
        models: The world model of each context; in privileged context the hidden state is in the history.
        digest: Identifies what the models are, for the cache.
    """

    def __init__(self, name: str, models: Mapping[Context, WorldModel], digest: str) -> None:
        self.name = name
        self._models = dict(models)
        self._digest = digest

    def key(self, trajectory: Trajectory, context: Context) -> str:
        """Return a digest of model, context and episode."""
        return digest_of("asked", self._digest, context, content(trajectory))

    def examine(self, trajectories: Sequence[Trajectory], context: Context) -> list[list[StepOutcome]]:
        """Ask about every step, all in one batch."""
        asked = [query for trajectory in trajectories for query in queries(trajectory, context)]
        answers = iter(self._models[context].predict(asked))
        return [[compare(next(answers), real) for real in truth(trajectory)] for trajectory in trajectories]


class TrainedExaminee:
    """A base model with or without an adapter: teacher forcing, and generation where a token differs.

    Args:
        name: Name in the results.
        forcing: The weights, set up to read whole episodes.
        adapter: Folder of a peft adapter; None is the untrained base.
        generators: By context, the world model over the same weights as it is shipped, asked where a token
            differs. Without one, texts, flags and confidences stay unknown, those of matches too: alone they
            would flatter.
        games: Games in whose episodes to generate; all when None.
        shots: Episodes that stand before the one that is examined.

    Raises:
        LocalModelError: The adapter cannot be used with this base.
        ValueError: Both shots and generators: the shipped world model knows no shots.
    """

    def __init__(
        self,
        name: str,
        forcing: ForcingModel,
        adapter: Path | None = None,
        *,
        generators: Mapping[Context, TrainedWorldModel] | None = None,
        games: Collection[str] | None = None,
        shots: Sequence[Trajectory] = (),
    ) -> None:
        if shots and generators:
            raise ValueError("a trained world model cannot generate after shots; leave generators out")
        self.name = name
        self._forcing = forcing
        self._adapter = None if adapter is None else forcing.load(adapter)
        self.generators = dict(generators or {})
        self._games = games
        self._shots = tuple(shots)
        base = forcing.base
        files = () if adapter is None else ("adapter_config.json", "adapter_model.safetensors")
        weights = [file_digest(adapter / file) for file in files if adapter is not None]
        self.digest = digest_of(base.fingerprint, str(base.model.dtype), str(base.model.device.type), weights)

    def key(self, trajectory: Trajectory, context: Context) -> str:
        """Return a digest of weights, precision, generation, codec (the tokens themselves) and episode."""
        row = self._forcing.row(trajectory, context, self._shots)
        generator = self._generator(trajectory, context)
        longest = None if generator is None else generator.max_new_tokens
        return digest_of("trained", VERSION, self.digest, longest, row.example.ids, content(trajectory))

    def forced(self, trajectory: Trajectory, context: Context) -> list[Forced]:
        """Return what teacher forcing alone says about each step.

        Raises:
            TooLongError: The episode does not fit the model.
        """
        return self._forcing.force(self._forcing.row(trajectory, context, self._shots), self._adapter)

    def examine(self, trajectories: Sequence[Trajectory], context: Context) -> list[list[StepOutcome]]:
        """Read every episode once, then generate where a token differs, for all episodes in one batch."""
        outcomes = [self._read(trajectory, context) for trajectory in trajectories]
        places = [
            (number, index)
            for number, found in enumerate(outcomes)
            if self._generator(trajectories[number], context) is not None
            for index, outcome in enumerate(found)
            if outcome.observation is None and outcome.error is None
        ]
        if not places:
            return outcomes
        every = [queries(trajectory, context) for trajectory in trajectories]
        answers = self.generators[context].predict([every[number][index] for number, index in places])
        for (number, index), answer in zip(places, answers, strict=True):
            said = compare(answer, truth(trajectories[number])[index])
            # Now and then the same text comes in other tokens: then it is a match after all.
            outcomes[number][index] = _forced_too(said, outcomes[number][index])
        return outcomes

    def _read(self, trajectory: Trajectory, context: Context) -> list[StepOutcome]:
        try:
            forced = self.forced(trajectory, context)
        except TooLongError as error:
            return [StepOutcome(exact=False, f1=0.0, error=str(error)) for _ in trajectory.transitions]
        generator = self._generator(trajectory, context)
        if generator is None:
            return [_known(f) for f in forced]
        # A true answer that is longer than the shipped model may write is none that it writes.
        forced = [f._replace(whole=f.whole and f.tokens <= generator.max_new_tokens) for f in forced]
        return [_outcome(f, real) for f, real in zip(forced, truth(trajectory), strict=True)]

    def _generator(self, trajectory: Trajectory, context: Context) -> TrainedWorldModel | None:
        chosen = self._games is None or game_of(trajectory) in self._games
        return self.generators.get(context) if chosen else None


def _known(forced: Forced) -> StepOutcome:
    return StepOutcome.model_validate({k: v for k, v in forced._asdict().items() if k != "whole"})


def _outcome(forced: Forced, real: Outcome) -> StepOutcome:
    if not forced.whole:
        return _known(forced)
    # The imagined outcome is the real one, so that its confidence and value are those of the real one.
    confidence = math.exp(-forced.surprise / forced.tokens)
    prediction = Prediction(**real._asdict(), confidence=confidence, value=forced.value_after)
    return _forced_too(compare(prediction, real), _known(forced))


def _forced_too(said: StepOutcome, forced: StepOutcome) -> StepOutcome:
    """Return what was said about a step, and what only teacher forcing says."""
    only = {"surprise", "tokens", "value_after", "value_blind", "success_after"}
    return said.model_copy(update=forced.model_dump(include=only))


def compare(prediction: Prediction, real: Outcome) -> StepOutcome:
    """Compare a prediction with what really happened.

    No success flag counts as "not solved", no reward and no end as what a plain observation stands for.
    """
    if prediction.error is not None or prediction.observation is None:
        return StepOutcome(exact=False, f1=0.0, error=prediction.error or "no observation was predicted")
    said, flag, true = prediction.observation.strip(), bool(prediction.success), real.observation.strip()
    return StepOutcome(
        exact=said == true and flag == real.success,
        observation=said,
        success=flag,
        reward=float(flag) if prediction.reward is None else rounded(prediction.reward),
        done=flag or bool(prediction.done),
        f1=token_f1(said, true),
        confidence=prediction.confidence,
        value=prediction.value,
    )


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
