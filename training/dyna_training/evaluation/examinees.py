"""Who is examined: models whose weights are at hand by teacher forcing, everybody else by being asked."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel, ConfigDict

from dyna_nodes.codec import Context
from dyna_nodes.nouns import Prediction, Query, Trajectory, digest_of
from dyna_nodes.protocols import WorldModel
from dyna_nodes.scoring import solved, token_f1
from dyna_training.evaluation.episodes import content
from dyna_training.evaluation.forcing import Forced, ForcingModel, TooLongError


class StepOutcome(BaseModel):
    """What a model said about one step; None is what nobody knows.

    Attributes:
        exact: Observation and success flag are those that really came.
        observation: The predicted observation; None where nothing was generated, or the model gave none.
        success: The predicted success flag; likewise.
        f1: Word-level F1 of the observation; None where nothing was generated, 0 where the model gave none.
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

    def examine(self, trajectory: Trajectory, context: Context) -> list[StepOutcome]:
        """Return one outcome per step."""
        ...


def queries(trajectory: Trajectory, context: Context) -> list[Query]:
    """Return the question that each step answers, with the real history before it."""
    privileged = context == "privileged"
    return [
        Query(history=trajectory.history(index, privileged=privileged), action=step.action)
        for index, step in enumerate(trajectory.transitions)
    ]


class AskedExaminee:
    """Any world model, asked step by step.

    Args:
        model: The world model; in privileged context the hidden state is in the history.
        digest: Identifies what the model is, for the cache.
        name: Name in the results; the model's own when None.
    """

    def __init__(self, model: WorldModel, digest: str, *, name: str | None = None) -> None:
        self.model = model
        self.name = name or model.name
        self._digest = digest

    def key(self, trajectory: Trajectory, context: Context) -> str:
        """Return a digest of model, context and episode."""
        return digest_of("asked", self._digest, context, content(trajectory))

    def examine(self, trajectory: Trajectory, context: Context) -> list[StepOutcome]:
        """Ask about every step, all in one batch."""
        predictions = self.model.predict(queries(trajectory, context))
        return [
            compare(prediction, step.observation, bool(solved(step.reward, step.done)))
            for prediction, step in zip(predictions, trajectory.transitions, strict=True)
        ]


class TrainedExaminee:
    """A base model with or without an adapter: teacher forcing, and generation where a token differs.

    Args:
        name: Name in the results.
        forcing: The weights, set up to read whole episodes.
        adapter: Folder of a peft adapter; None is the untrained base.
        generators: By context, the world model over the same weights as it is shipped, asked where a token
            differs. Without one, the text and the flag that are predicted at these steps stay unknown.
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
        generators: Mapping[Context, WorldModel] | None = None,
        shots: Sequence[Trajectory] = (),
    ) -> None:
        if shots and generators:
            raise ValueError("a trained world model cannot generate after shots; leave generators out")
        self.name = name
        self._forcing = forcing
        self._adapter = None if adapter is None else forcing.load(adapter)
        self.generators = dict(generators or {})
        self._shots = tuple(shots)
        base = forcing.base
        weights = None if adapter is None else file_digest(adapter / "adapter_model.safetensors")
        self.digest = digest_of(base.fingerprint, str(base.model.dtype), str(base.model.device.type), weights)

    def key(self, trajectory: Trajectory, context: Context) -> str:
        """Return a digest of weights, precision, codec (the tokens themselves) and episode."""
        row = self._forcing.row(trajectory, context, self._shots)
        return digest_of(
            "trained", self.digest, context in self.generators, row.example.ids, content(trajectory)
        )

    def forced(self, trajectory: Trajectory, context: Context) -> list[Forced]:
        """Return what teacher forcing alone says about each step.

        Raises:
            TooLongError: The episode does not fit the model.
        """
        return self._forcing.force(self._forcing.row(trajectory, context, self._shots), self._adapter)

    def examine(self, trajectory: Trajectory, context: Context) -> list[StepOutcome]:
        """Read the episode once, then generate where a token differs."""
        try:
            forced = self.forced(trajectory, context)
        except TooLongError as error:
            return [StepOutcome(exact=False, f1=0.0, error=str(error)) for _ in trajectory.transitions]
        truth = [(t.observation.strip(), bool(solved(t.reward, t.done))) for t in trajectory.transitions]
        outcomes = [_outcome(f, *true) for f, true in zip(forced, truth, strict=True)]
        open_steps = [i for i, f in enumerate(forced) if not f.exact]
        if context in self.generators and open_steps:
            asked = queries(trajectory, context)
            answers = self.generators[context].predict([asked[i] for i in open_steps])
            for index, answer in zip(open_steps, answers, strict=True):
                # Now and then the same text comes in other tokens: then it is a match after all.
                known = outcomes[index].model_dump(
                    include={"surprise", "tokens", "value_after", "value_blind"}
                )
                outcomes[index] = compare(answer, *truth[index]).model_copy(update=known)
        return outcomes


def _outcome(forced: Forced, observation: str, success: bool) -> StepOutcome:
    known = StepOutcome.model_validate(forced._asdict())
    if not forced.exact:
        return known
    # The imagined observation is the real one, so that its confidence and value are those of the real one.
    match = {
        "observation": observation,
        "success": success,
        "f1": 1.0,
        "confidence": math.exp(-forced.surprise / forced.tokens),
        "value": forced.value_after,
    }
    return known.model_copy(update=match)


def compare(prediction: Prediction, observation: str, success: bool) -> StepOutcome:
    """Compare a prediction with what really happened; no success flag counts as "not solved"."""
    if prediction.error is not None or prediction.observation is None:
        return StepOutcome(exact=False, f1=0.0, error=prediction.error or "no observation was predicted")
    said, flag = prediction.observation.strip(), bool(prediction.success)
    return StepOutcome(
        exact=said == observation.strip() and flag == success,
        observation=said,
        success=flag,
        f1=token_f1(said, observation),
        confidence=prediction.confidence,
        value=prediction.value,
    )


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
