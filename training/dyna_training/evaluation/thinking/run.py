"""``dyna eval thinking``: policies on their own rollouts, and on one fixed set of recorded states."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from dyna_nodes.nouns import Trajectory
from dyna_nodes.protocols import WorldModel
from dyna_nodes.settings import Memory
from dyna_training.data import read_trajectories
from dyna_training.environments.alfworld.splits import Split
from dyna_training.evaluation.episodes import SEED, counts, episodes_digest, game_of, record
from dyna_training.evaluation.statistics import Bootstrap
from dyna_training.evaluation.thinking.asking import AskedPolicy, Response, answered, identity_of, responses
from dyna_training.evaluation.thinking.cache import LineCache
from dyna_training.evaluation.thinking.correlation import Figure
from dyna_training.evaluation.thinking.figures import READINGS, figures_of
from dyna_training.evaluation.thinking.judges import JUDGEMENTS, judge_named
from dyna_training.evaluation.thinking.results import ThinkingFigures
from dyna_training.evaluation.thinking.states import (
    Forks,
    draw_states,
    frozen_states,
    mixture_states,
    states_digest,
)
from dyna_training.evaluation.thinking.trivial import trivial
from dyna_training.evaluation.thinking.turns import (
    GROUNDED,
    GroundedJudge,
    JudgedTurn,
    ThinkingJudge,
    judged_turns,
)
from dyna_training.evaluation.world_model import PACKAGES, Progress, no_progress
from dyna_training.rollouts import ENVIRONMENT

RESULTS_FORMAT: Final = "dyna-eval-thinking/1"


JUDGED_AT_ONCE: Final = 8
"""Trajectories whose thinking a chat model judges at a time."""


class Labelled(NamedTuple):
    """Rollouts or a policy, and what they are called in the results."""

    label: str
    source: str


class ThinkingEvaluation(BaseModel):
    """Settings of ``dyna eval thinking``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rollouts: tuple[Labelled, ...] = Field((), description="Folders of own rollouts of policies.")
    policies: tuple[Labelled, ...] = Field(
        (),
        description="Models asked in the recorded states; several of one label are trainings of one policy.",
    )
    states: int = Field(0, ge=0, description="How many recorded states.")
    data: tuple[Path, ...] = Field((), description="Recorded episodes to draw states from.")
    split: Split = Field("dev_unseen", description="Split whose games are played to draw states from.")
    memory: Memory = Field("thoughts", description="What policies see of earlier turns.")
    system_prompt: str | None = Field(None, description="System prompt; default: the one of training.")
    temperature: float = Field(0.0, ge=0, description="Temperature of the responses.")
    max_tokens: int = Field(512, ge=1, description="Longest response, in tokens.")
    batch: int = Field(16, ge=1, description="States asked about together.")
    dtype: Literal["bfloat16", "float32", "float16"] = Field("bfloat16", description="Precision of weights.")
    device: str = Field("cpu", description="Torch device.")
    judge: str = Field(GROUNDED, description="grounded, or a chat model for thinking in another form.")
    baselines: bool = Field(True, description="Simulations by rote beside it.")
    train: tuple[Path, ...] = Field((), description="Recorded training episodes for these.")
    train_games: int = Field(60, ge=1, description="Training games played for these where none are named.")
    seed: int = Field(SEED, description="Seeds states, sampling and bootstrap.")
    out: Path = Field(Path("runs/eval-thinking"), description="Folder of the results.")

    @model_validator(mode="after")
    def _something_to_do(self) -> ThinkingEvaluation:
        if not self.rollouts and not self.policies:
            raise ValueError("there is nothing to measure: name --rollouts, or a --policy with --states")
        if bool(self.policies) != bool(self.states):
            raise ValueError("a --policy is asked in recorded states, so --policy and --states go together")
        labels = Counter(choice.label for choice in self.rollouts)
        if twice := [label for label, number in labels.items() if number > 1]:
            raise ValueError(f"two of the rollouts are called {twice[0]!r}; give each a LABEL= of its own")
        return self


class Measured(NamedTuple):
    """One policy in one setting.

    Attributes:
        label: What it is called.
        figures: Its figures.
        turns: The turns behind them, training by training.
        about: More for the results.
        trainings: How many trainings of it there are.
    """

    label: str
    figures: ThinkingFigures
    turns: list[JudgedTurn]
    about: dict[str, Any]
    trainings: int = 1

    def to_json(self) -> dict[str, Any]:
        """Return what the results say."""
        return {"label": self.label, **self.about, "figures": self.figures.model_dump(mode="json")}


def evaluate(settings: ThinkingEvaluation, progress: Progress = no_progress) -> dict[str, Any]:
    """Measure policies, and return all figures.

    What a policy answered and a chat model judged before, in the same folder, is not asked again.

    Args:
        settings: Who is measured on what.
        progress: Called with what is being done, how much of it is done, and how much there is.

    Raises:
        FileNotFoundError: A folder holds no trajectories.
        GameFileError: The games are not there.
        ModelError: A model's name leads nowhere.
        LocalModelError: The base model or an adapter cannot be used.
        StateError: A recorded state cannot be reached again.
        ValueError: Nothing can be judged.
    """
    judge = judge_named(settings.judge, LineCache(settings.out / JUDGEMENTS))
    rote = Rote(settings, progress)
    own = [m for choice in settings.rollouts for m in _own(choice, settings, judge, rote, progress)]
    fixed: list[Measured] = []
    states: list[Trajectory] = []
    if settings.policies:
        states = _states(settings, progress)
        forks = Forks()
        cache = LineCache(settings.out / "responses.jsonl")
        for label in dict.fromkeys(choice.label for choice in settings.policies):
            trainings = [choice for choice in settings.policies if choice.label == label]
            fixed.append(_asked(trainings, states, forks, cache, settings, judge, rote, progress))
    return {
        "format": RESULTS_FORMAT,
        "settings": settings.model_dump(mode="json", exclude={"out"}),
        "versions": {name: version(name) for name in PACKAGES},
        "rollouts": [m.to_json() for m in own],
        "states": _about(states) if states else None,
        "policies": [m.to_json() for m in fixed],
        "differences": differences(fixed, seed=settings.seed),
    }


class Rote:
    """Who writes simulations by rote, made when first needed.

    Args:
        settings: What they learn from: recorded episodes, else households that are played for it.
        progress: Shows the playing.
    """

    def __init__(self, settings: ThinkingEvaluation, progress: Progress) -> None:
        self._settings = settings
        self._progress = progress
        self._made: dict[str, WorldModel] | None = None

    def beside(self, trajectories: Sequence[Trajectory]) -> Mapping[str, WorldModel]:
        """Return those that know games like these; nobody knows others than households without being told."""
        settings = self._settings
        households = all(t.provenance.environment.startswith(f"{ENVIRONMENT}:") for t in trajectories)
        if not settings.baselines or not (settings.train or households):
            return {}
        if self._made is None:
            self._made = trivial(self._train(), rules=not settings.train)
        return self._made

    def _train(self) -> list[Trajectory]:
        settings = self._settings
        if settings.train:
            return list(read_trajectories(settings.train))

        def playing(done: int, of: int) -> None:
            self._progress("playing train", done, of)

        return record("train", settings.train_games, seed=settings.seed, on_game=playing)


def _own(
    choice: Labelled,
    settings: ThinkingEvaluation,
    judge: ThinkingJudge,
    rote: Rote,
    progress: Progress,
) -> list[Measured]:
    """Measure the rollouts of a folder; of several policies in it, each by itself."""
    by_policy: dict[str, list[Trajectory]] = {}
    for trajectory in read_trajectories([Path(choice.source)]):
        by_policy.setdefault(trajectory.provenance.policy, []).append(trajectory)
    found = []
    for name, trajectories in by_policy.items():
        label = choice.label if len(by_policy) == 1 else f"{choice.label}, {name}"
        turns = _judged(trajectories, judge, f"judging {label}", progress)
        figures = figures_of(
            trajectories, turns, baselines=rote.beside(trajectories), played=True, seed=settings.seed
        )
        about = {"policy": name, "digest": episodes_digest(trajectories), **counts(trajectories)}
        found.append(Measured(label, figures, turns, about))
    return found


def _states(settings: ThinkingEvaluation, progress: Progress) -> list[Trajectory]:
    def playing(done: int, of: int) -> None:
        progress(f"playing {settings.split}", done, of)

    number, seed = settings.states, settings.seed
    if settings.data:
        return draw_states(list(read_trajectories(settings.data)), number, seed=seed)
    return frozen_states(
        settings.out,
        lambda: mixture_states(settings.split, number, seed=seed, on_game=playing),
        settings.split,
        number,
        seed,
    )


def _about(states: Sequence[Trajectory]) -> dict[str, Any]:
    games = {game_of(state) for state in states}
    return {"number": len(states), "games": len(games), "digest": states_digest(states)}


def _policy(choice: Labelled, settings: ThinkingEvaluation) -> AskedPolicy:
    from dyna_graph.models import LOCAL, parse_model, resolve_model
    from dyna_training.recording import default_prompt

    local = parse_model(choice.source).provider == LOCAL
    options: dict[str, Any] = {"temperature": settings.temperature, "max_tokens": settings.max_tokens}
    if local:
        options |= {"dtype": settings.dtype, "device": settings.device, "seed": settings.seed}
    model = resolve_model(choice.source, **options)
    prompt = settings.system_prompt or default_prompt(choice.source)
    return AskedPolicy(choice.label, model, identity_of(choice.source, model), prompt, settings.memory)


def _asked(
    trainings: Sequence[Labelled],
    states: Sequence[Trajectory],
    forks: Forks,
    cache: LineCache,
    settings: ThinkingEvaluation,
    judge: ThinkingJudge,
    rote: Rote,
    progress: Progress,
) -> Measured:
    """Measure a policy on the fixed states; where it was trained several times, all of these together."""
    policies = _policies(trainings, settings)
    given: list[Response] = []
    ends: list[Trajectory] = []
    turns: list[JudgedTurn] = []
    by_training = []
    for number, (choice, policy) in enumerate(zip(trainings, policies, strict=True), 1):
        name = policy.label if len(trainings) == 1 else f"{policy.label}, training {number}"
        asking = _counting(f"asking {name}", len(states), progress)
        said = responses(policy, states, cache, batch=settings.batch, on_state=asking)
        given += said
        then = [
            _of_training(number, answered(state, response, forks))
            for state, response in zip(states, said, strict=True)
        ]
        ends += then
        judged = _judged(then, judge, f"judging {name}", progress, last=True)
        turns += judged
        if len(trainings) > 1:
            strict = figures_of(then, judged, played=False, seed=settings.seed).overall.strict
            by_training.append({"source": choice.source, "product": strict.product.model_dump(mode="json")})
    figures = figures_of(ends, turns, baselines=rote.beside(ends), played=False, seed=settings.seed)
    tokens = [response.tokens for response in given if response.tokens is not None]
    about = {
        "prompt": policies[0].prompt,
        "without_action": dict(Counter(r.problem.partition(": ")[0] for r in given if r.action is None)),
        "tokens": _tokens(tokens) if tokens else None,
        "trainings": by_training,
    }
    return Measured(trainings[0].label, figures, turns, about, len(trainings))


def _policies(trainings: Sequence[Labelled], settings: ThinkingEvaluation) -> list[AskedPolicy]:
    """Return the trainings of a policy.

    Raises:
        ValueError: Two of them are the same, or are asked in other words.
    """
    policies = [_policy(choice, settings) for choice in trainings]
    known: dict[str, str] = {}
    for choice, policy in zip(trainings, policies, strict=True):
        if policy.identity in known:
            raise ValueError(
                f"two trainings of {choice.label!r} are the same: {known[policy.identity]} and {choice.source}"
            )
        known[policy.identity] = choice.source
        if policy.prompt != policies[0].prompt:
            raise ValueError(
                f"two trainings of {choice.label!r} were trained with other system prompts, {trainings[0].source} and "
                f"{choice.source}: give one to both (--system-prompt), or each a LABEL= of its own"
            )
    return policies


def _of_training(number: int, end: Trajectory) -> Trajectory:
    """Give what one training answered in a state an id of its own, to look it up by: others answer there too."""
    return end if number == 1 else end.model_copy(update={"id": f"{end.id}-{number}"})


def _tokens(tokens: Sequence[int]) -> dict[str, float]:
    low, middle, high = np.quantile(tokens, [0.1, 0.5, 0.9])
    return {"mean": float(np.mean(tokens)), "p10": float(low), "p50": float(middle), "p90": float(high)}


def _counting(what: str, of: int, progress: Progress) -> Callable[[int], None]:
    done = 0

    def count(number: int) -> None:
        nonlocal done
        done += number
        progress(what, done, of)

    return count


def _judged(
    trajectories: Sequence[Trajectory],
    judge: ThinkingJudge,
    what: str,
    progress: Progress,
    *,
    last: bool = False,
) -> list[JudgedTurn]:
    """Judge all turns, or the last of each trajectory."""
    count = _counting(what, len(trajectories), progress)
    turns: list[JudgedTurn] = []

    def judged(trajectory: Trajectory) -> list[JudgedTurn]:
        chosen = {trajectory.id: [len(trajectory.transitions) - 1]} if last else None
        return judged_turns([trajectory], judge, turns=chosen)

    # A chat model that judges is mostly waited for; comparing texts gains nothing by threads.
    with ThreadPoolExecutor(1 if isinstance(judge, GroundedJudge) else JUDGED_AT_ONCE) as pool:
        for found in pool.map(judged, trajectories):
            turns += found
            count(1)
    return turns


def differences(measured: Sequence[Measured], *, seed: int) -> list[dict[str, Any]]:
    """Return paired differences on the same states, each policy less the first: the share of all turns that came true.

    What several trainings of a policy answered in a state counts as their mean. States on which a judge failed for any
    training of the two policies are left out for both. A reading that the judge does not tell is None.
    """
    found = []
    for other in measured[1:]:
        pair = (other, measured[0])
        known = np.concatenate([_in_states(m, lambda t: t.judgement.simulated is not None) for m in pair])
        boot = Bootstrap([t.facts.game for t in other.turns[: known.shape[1]]], seed=seed)
        differences: dict[str, Any] = {"first": other.label, "second": measured[0].label}
        for name, said in READINGS.items():
            first, second = (_in_states(m, said).mean(0) for m in pair)
            told = any(said(turn) is not None for m in pair for turn in m.turns)
            figure = Figure.of(boot.difference(first, second, where=known.all(0))) if told else None
            differences[name] = figure and figure.model_dump(mode="json")
        found.append(differences)
    return found


def _in_states(measured: Measured, of: Callable[[JudgedTurn], object]) -> NDArray[np.bool_]:
    """Return [trainings, states] with what holds of the turn there."""
    return np.array([bool(of(turn)) for turn in measured.turns]).reshape(measured.trainings, -1)
