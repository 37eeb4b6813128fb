"""Who is examined by ``dyna eval world-model``: the settings, and the models that they name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from dyna_nodes.codec import Context
from dyna_nodes.nouns import Action, History, Query, Trajectory, digest_of
from dyna_nodes.world_models import ChatWorldModel, TrainedWorldModel
from dyna_training.environments.alfworld.splits import Split
from dyna_training.evaluation import episodes
from dyna_training.evaluation.baselines import baselines, shots
from dyna_training.evaluation.examinees import BOTH, AskedExaminee, Examinee, TrainedExaminee, file_digest
from dyna_training.evaluation.forcing import ForcingModel

if TYPE_CHECKING:
    from dyna_nodes.local.engine import Engine

SHOTS: Final = 3
"""Examples shown to the untrained base model."""
STORE_BYTES: Final = 128 << 20
ARENA_BYTES: Final = 512 << 20
FORM_TOKENS: Final = 40
"""Tokens that a prompted chat model needs for the form of its answer."""
READING: Final = 1
"""Version of how a prompted model's answer is read; raised when that changes, so that cached outcomes do not count.
The prompt need not be versioned, for its text is part of the digest."""


class AdapterChoice(NamedTuple):
    """An adapter and what it is called; a label that is a number is a place on the curve over training
    data."""

    label: str
    folder: Path


class WorldModelEvaluation(BaseModel):
    """Settings of ``dyna eval world-model``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    adapters: tuple[AdapterChoice, ...] = Field(
        (), description="Adapters to examine; the last is the one compared."
    )
    models: tuple[str, ...] = Field((), description="Chat models to examine, prompted.")
    shots: tuple[int, ...] = Field((0,), description="Numbers of example episodes shown to chat models.")
    model_games: int = Field(0, ge=0, description="Games that chat models are examined on; 0 is all.")
    untrained: bool = Field(True, description="Examine the base model without adapter too, zero- and 3-shot.")
    baselines: bool = Field(True, description="Examine copy, template and rules too.")
    base: str = Field("smollm2", description="Base model.")
    dtype: Literal["bfloat16", "float32"] = Field("bfloat16", description="Precision of the weights.")
    device: str = Field("cpu", description="Torch device.")
    split: Split = Field("dev_unseen", description="Split of the games.")
    games: int = Field(0, ge=0, description="Number of games; 0 is all of the split.")
    data: tuple[Path, ...] = Field((), description="Recorded episodes to use instead of playing games.")
    train: tuple[Path, ...] = Field(
        (), description="Recorded training episodes; played where none are named."
    )
    train_games: int = Field(60, ge=1, description="Training games played for templates and examples.")
    contexts: tuple[Context, ...] = Field(("agent", "privileged"), description="What the models are told.")
    batch: int = Field(4, ge=1, description="Episodes whose missing answers are generated together.")
    seed: int = Field(episodes.SEED, description="Seeds games, episodes and bootstrap.")
    verify: int = Field(0, ge=0, description="Steps at which teacher forcing is checked by generating.")
    generate: bool = Field(True, description="Generate where a token differs; without it only exact matches.")
    curve_unit: str = Field("target tokens", description="What labels that are numbers count.")
    generate_games: int = Field(0, ge=0, description="Games in which to generate; 0 is all.")
    max_new_tokens: int = Field(160, ge=1, description="Longest generated observation, in tokens.")
    out: Path = Field(Path("runs/eval-world-model"), description="Folder of the results.")


def amount_of(label: str) -> float | None:
    """Read a label such as ``525k`` or ``1.2M`` as a number; None where it is none."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kM]?)", label)
    return None if match is None else float(match[1]) * {"": 1, "k": 1e3, "M": 1e6}[match[2]]


def examinees(
    settings: WorldModelEvaluation, mixture: Sequence[Trajectory], train: Sequence[Trajectory]
) -> list[tuple[Examinee, int]]:
    """Return everybody who is examined, adapters first, each with the number of games; 0 is all.

    Args:
        settings: Who is asked for.
        mixture: The episodes to examine on.
        train: Episodes of training games, for templates and examples.

    Raises:
        LocalModelError: The base model or an adapter cannot be used.
        ModelError: A chat model's name leads nowhere.
        ValueError: More examples are asked for than there are training episodes.
    """
    found: list[tuple[Examinee, int]] = []
    if settings.adapters or settings.untrained:
        from dyna_nodes.local import load_base

        forcing = ForcingModel(load_base(settings.base, settings.dtype, settings.device))
        chosen = episodes.some_games(mixture, settings.generate_games)
        engine = _engine(settings) if settings.generate and settings.adapters else None
        for choice in settings.adapters:
            generators = {} if engine is None else _generators(settings, engine, choice)
            examinee = TrainedExaminee(
                choice.label, forcing, choice.folder, generators=generators, games=chosen
            )
            found.append((examinee, 0))
        if settings.untrained:
            found.append((TrainedExaminee("untrained", forcing), 0))
            if train:
                examples = shots(train, SHOTS)
                found.append((TrainedExaminee(f"untrained, {SHOTS}-shot", forcing, shots=examples), 0))
    if settings.baselines and train:
        found += [(b, 0) for b in baselines(train, rules=not settings.data)]
    for name in settings.models:
        found += [
            (_prompted(settings, name, number, train), settings.model_games) for number in settings.shots
        ]
    return found


def _engine(settings: WorldModelEvaluation) -> Engine:
    """Return an engine that takes little memory: every episode is read once, so nothing need be remembered long."""
    from dyna_nodes.local import load_base
    from dyna_nodes.local.engine import Engine
    from dyna_nodes.local.worker import Limits

    base = load_base(settings.base, settings.dtype, settings.device)
    return Engine(base, store_bytes=STORE_BYTES, limits=Limits(arena_bytes=ARENA_BYTES))


def _generators(
    settings: WorldModelEvaluation, engine: Engine, choice: AdapterChoice
) -> dict[Context, TrainedWorldModel]:
    name = None if choice.folder is None else str(choice.folder.resolve())
    if name is not None and choice.folder is not None:
        engine.load_adapter(name, choice.folder)
    longest = settings.max_new_tokens
    return {
        c: TrainedWorldModel(engine, name, context=c, max_new_tokens=longest, name=choice.label)
        for c in settings.contexts
    }


def _prompted(
    settings: WorldModelEvaluation, name: str, number: int, train: Sequence[Trajectory]
) -> AskedExaminee:
    from dyna_graph.models import resolve_model

    longest = settings.max_new_tokens + FORM_TOKENS
    model = resolve_model(name, temperature=0.0, max_tokens=longest)
    examples = shots(train, number)
    label = f"{name}, {number}-shot"
    models = {c: ChatWorldModel(model, examples=examples, context=c, name=label) for c in BOTH}
    # Of a local model: other weights in the same folder are another model.
    adapter = getattr(model, "adapter", None)
    weights = file_digest(adapter / "adapter_model.safetensors") if isinstance(adapter, Path) else None
    prompts = [_prompt_digest(found) for found in models.values()]
    return AskedExaminee(label, models, digest_of(READING, name, weights, longest, prompts))


def _prompt_digest(model: ChatWorldModel) -> str:
    """Return the digest of all that the model is told around an episode: instruction, examples and forms."""
    start = History(task="Look around.", hidden_state="Nothing is hidden.")
    told = [
        message
        for history in (start, start.then(Action.command("look"), "A room."))
        for message in model.prompt(Query(history=history, action=Action.command("wait")))
    ]
    return digest_of([(message.type, message.content) for message in told])
