"""What a world model is worth to an agent: the same policy on the same games, with and without it.

Arms: greedy; k candidates chosen by log-probability, by majority, at random, by rules
that need no model; by the trained world model, by its predictions dealt out to the candidates at random, by its value
without imagination; and by the environment itself as the oracle. Everything else is equal: policy,
temperature, k, step limit, and the random numbers, which depend on seed and history only.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, get_args

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import BaseChatModel
from langchain_core.outputs import ChatGeneration, LLMResult
from pydantic import BaseModel, ConfigDict, Field

from dyna_graph.agent import DynaGraph, create_dyna_agent
from dyna_graph.config import HouseholdCriticSettings
from dyna_nodes.codec.policy import POLICY_PROMPT
from dyna_nodes.critics import HouseholdCritic, RuleCritic, ValueCritic
from dyna_nodes.events import CritiqueEvent, ObserveEvent, SimulateEvent
from dyna_nodes.local import LocalChatModel
from dyna_nodes.nouns import digest_of
from dyna_nodes.protocols import Critic, WorldModel
from dyna_nodes.settings import LoopSettings, Memory
from dyna_nodes.world_models import ShuffledWorldModel, TrainedWorldModel
from dyna_training.environments.alfworld.splits import Split, games
from dyna_training.environments.alfworld.text import NOTHING_HAPPENS
from dyna_training.evaluation.controls import LogProbabilityCritic, MajorityCritic, RandomCritic
from dyna_training.evaluation.critic_names import WEIGHTS, described
from dyna_training.evaluation.examinees import file_digest
from dyna_training.evaluation.world_model import Progress, no_progress
from dyna_training.recording import TOKENS_PER_EPISODE
from dyna_training.tools import EnvironmentTool, environment_tools, task_message
from dyna_training.world_models.environment import EnvironmentWorldModel

ArmName = Literal[
    "greedy",
    "log-probability",
    "majority",
    "random",
    "rules",
    "shuffled",
    "blind-value",
    "trained",
    "oracle",
]
ARMS: tuple[ArmName, ...] = get_args(ArmName)
CONTROLS = tuple(arm for arm in ARMS if arm not in ("trained", "oracle"))
"""What the trained world model has to beat; the oracle is a bound, not a control."""
TRAINED: tuple[ArmName, ...] = ("shuffled", "blind-value", "trained")
"""Arms that need a trained world model."""
RANKED: tuple[ArmName, ...] = ("shuffled", "trained", "oracle")
"""Arms whose candidates the household critic ranks."""
REJECTING: tuple[ArmName, ...] = ("rules", "trained", "oracle")
"""Arms that may reject all candidates, so that others are drawn anew.

Not ``shuffled``: dealing predictions out to other candidates of a step leaves it as it is whether all do nothing, so
that control would draw anew by what the world model knows.
"""
RULES: Final = 3
"""Version of what `build` makes of the arms; whoever changes a control raises it, and old games do not count."""
RANKING: Final = HouseholdCriticSettings(critic="household", reject=())
"""Ranks the imagined outcomes in the arms that have some. Nothing is rejected: the best of the k candidates runs."""
CRITIC: Final = described(RANKING)
"""Its name with its weights, in keys and records."""
logger = logging.getLogger(__name__)


class AgentEvaluation(BaseModel):
    """Settings of an evaluation."""

    model_config = ConfigDict(extra="forbid")

    policy: Path = Field(description="Adapter of the policy.")
    world_model: Path | None = Field(None, description="Adapter of the world model.")
    base: str = Field("smollm2", description="Base model of both.")
    dtype: Literal["bfloat16", "float32"] = Field("bfloat16", description="Precision of the weights.")
    device: str = Field("cpu", description="Torch device.")
    split: Split = Field("dev_unseen", description="Where the games come from.")
    games: int = Field(70, ge=1, description="Number of games, spread over the split.")
    arms: tuple[ArmName, ...] = Field(ARMS, description="Which arms.")
    candidates: int = Field(4, ge=2, description="k.")
    resample: int = Field(
        0, ge=0, description="How many are drawn anew where all k are rejected; 0 rejects nothing."
    )
    temperature: float = Field(1.0, gt=0, description="Temperature of the candidates; greedy has 0.")
    horizon: int = Field(1, ge=1, description="How many steps are imagined.")
    max_steps: int = Field(50, ge=1, description="Steps per game.")
    concurrency: int = Field(16, ge=1, description="Games played at once, in one batch.")
    seed: int = Field(0, description="Seed of the sampling.")
    training_seed: int = Field(0, description="Which training seed the adapters are from, for the record.")
    prompt: str = Field(POLICY_PROMPT, description="System prompt; the one that the policy was trained with.")
    memory: Memory = Field("thoughts", description="What the policy reads of its earlier turns; as trained.")
    out: Path = Field(Path("runs/eval-agent"), description="Folder of the results.")


class GameOutcome(BaseModel):
    """One game by one arm.

    Attributes:
        key: Digest of everything that it depends on.
        arm: The arm.
        game: Id of the game.
        task_type: Its task type.
        candidates: Responses of the policy per step; 0 in records that do not say.
        training_seed: Training seed of the adapters.
        success: Whether the task was solved.
        steps: Executed commands.
        invalid: How many of them were answered "Nothing happens.".
        overruled: Steps at which another candidate than the first was chosen.
        resampled: Steps at which all candidates were rejected and others drawn.
        policy_tokens: Tokens generated by the policy, all candidates.
        model_tokens: Tokens generated by the world model.
        seconds: Wall time, other games of the batch running beside it.
        ended: How the run ended.
    """

    model_config = ConfigDict(extra="forbid")

    key: str
    arm: ArmName
    game: str
    task_type: str
    candidates: int = 0
    training_seed: int = 0
    success: bool
    steps: int = 0
    invalid: int = 0
    overruled: int = 0
    resampled: int = 0
    policy_tokens: int = 0
    model_tokens: int = 0
    seconds: float = 0.0
    ended: str = ""


class Arm(NamedTuple):
    """How one arm decides."""

    candidates: int
    temperature: float
    world_model: WorldModel | None
    critic: Critic | None


class _Counter(BaseCallbackHandler):
    """Counts the tokens of all generations, chosen or not."""

    def __init__(self) -> None:
        self.tokens = 0

    def on_llm_end(self, response: LLMResult, **_: Any) -> None:
        """Add the output tokens of one call."""
        for generation in response.generations[0]:
            if isinstance(generation, ChatGeneration):
                usage = getattr(generation.message, "usage_metadata", None) or {}
                self.tokens += usage.get("output_tokens", 0)


def ranking(settings: AgentEvaluation, name: ArmName = "trained") -> HouseholdCriticSettings:
    """Return the critic of an arm that imagines.

    It rejects only where others are drawn then, and of those the best runs, whatever it is predicted to do.
    """
    if not settings.resample or name not in REJECTING:
        return RANKING
    return RANKING.model_copy(update={"reject": ("predicted no effect",)})


def build(settings: AgentEvaluation, name: ArmName, tools: Sequence[EnvironmentTool]) -> Arm:
    """Return one arm.

    Raises:
        ValueError: The arm needs a trained world model and none was given.
    """
    k, warm = settings.candidates, settings.temperature

    def trained(**options: Any) -> TrainedWorldModel:
        if settings.world_model is None:
            raise ValueError(f"the arm {name!r} needs a trained world model: give its adapter")
        model = LocalChatModel(
            base=settings.base, adapter=settings.world_model, dtype=settings.dtype, device=settings.device
        )
        return TrainedWorldModel(model.load(), str(settings.world_model.expanduser()), **options)

    household = ranking(settings, name)
    ranked = HouseholdCritic(**household.model_dump(include=set(WEIGHTS)), reject=household.reject)
    rules = RuleCritic() if settings.resample else RuleCritic(reject=())
    makers: dict[ArmName, Callable[[], Arm]] = {
        "greedy": lambda: Arm(1, 0.0, None, None),
        "log-probability": lambda: Arm(k, warm, None, LogProbabilityCritic()),
        "majority": lambda: Arm(k, warm, None, MajorityCritic()),
        "random": lambda: Arm(k, warm, None, RandomCritic(settings.seed)),
        "rules": lambda: Arm(k, warm, None, rules),
        "shuffled": lambda: Arm(k, warm, ShuffledWorldModel(trained(), seed=settings.seed), ranked),
        "blind-value": lambda: Arm(k, warm, trained(value="blind"), ValueCritic()),
        "trained": lambda: Arm(k, warm, trained(), ranked),
        "oracle": lambda: Arm(k, warm, EnvironmentWorldModel(tools), ranked),
    }
    return makers[name]()


def policy(settings: AgentEvaluation, arm: Arm) -> BaseChatModel:
    """Return the policy of an arm; only the temperature differs between arms."""
    model = LocalChatModel(
        base=settings.base,
        adapter=settings.policy,
        dtype=settings.dtype,
        device=settings.device,
        temperature=arm.temperature,
        max_tokens=64,
        seed=settings.seed,
        logprobs=True,
    )
    # The policy's and the world model's side of every game.
    model.load().remember(2 * settings.concurrency * TOKENS_PER_EPISODE)
    return model


async def play(graph: DynaGraph, tool: EnvironmentTool, game: Path, about: Mapping[str, Any]) -> GameOutcome:
    """Play one game to its end.

    Args:
        graph: The agent.
        tool: Its environment.
        game: The game file.
        about: ``key``, ``arm``, ``candidates`` and ``training_seed``.
    """
    counter = _Counter()
    thread = digest_of(about["key"])
    config: Any = {"configurable": {"thread_id": thread}, "callbacks": [counter]}
    message = task_message(tool, seed=0, options={"game": str(game)})
    tally: dict[str, Any] = dict.fromkeys(("steps", "invalid", "overruled", "resampled", "model_tokens"), 0)
    success, ended, began, overruled = False, "", time.monotonic(), False
    async for event in graph.astream({"messages": [message]}, config, stream_mode="custom"):
        if isinstance(event, SimulateEvent):
            tally["model_tokens"] += sum(i.prediction.tokens for s in event.simulations for i in s.steps)
        elif isinstance(event, CritiqueEvent):
            tally["resampled"] += event.resampled
            overruled = overruled or event.resampled or event.chosen > 0
            if event.runs:
                tally["overruled"] += overruled
                overruled = False
        elif isinstance(event, ObserveEvent):
            ended = event.ended or ""
            for transition in event.transitions:
                tally["steps"] += 1
                tally["invalid"] += transition.observation.startswith(NOTHING_HAPPENS)
                success = success or bool(transition.done and (transition.reward or 0) > 0)
    return GameOutcome(
        **about,
        game=f"{game.parts[-3]}/{game.parts[-2]}",
        task_type=game.parts[-3].split("-")[0],
        success=success,
        policy_tokens=counter.tokens,
        seconds=time.monotonic() - began,
        ended=ended,
        **tally,
    )


def evaluate(settings: AgentEvaluation, progress: Progress = no_progress) -> list[GameOutcome]:
    """Play every game by every arm; what is recorded in ``out`` already is not played again."""
    everything = games(settings.split)
    stride = len(everything) / min(settings.games, len(everything))
    chosen = [everything[int(i * stride)] for i in range(min(settings.games, len(everything)))]
    path = settings.out / "games.jsonl"
    known = {outcome.key: outcome for outcome in read_outcomes(path)}
    found: list[GameOutcome] = []
    for name in settings.arms:
        keys = {game: _key(settings, name, game) for game in chosen}
        found += [known[key] for key in keys.values() if key in known]
        missing = [game for game, key in keys.items() if key not in known]
        progress(name, len(chosen) - len(missing), len(chosen))
        if missing:
            found += asyncio.run(_play_all(settings, name, missing, keys, path, len(chosen), progress))
    return found


async def _play_all(
    settings: AgentEvaluation,
    name: ArmName,
    missing: Sequence[Path],
    keys: Mapping[Path, str],
    path: Path,
    total: int,
    progress: Progress,
) -> list[GameOutcome]:
    tools = environment_tools(
        "dyna/ALFWorld-v0", split=settings.split, max_steps=settings.max_steps, admissible_actions=False
    )
    arm = build(settings, name, tools)
    graph = create_dyna_agent(
        policy(settings, arm),
        tools,
        world_model=arm.world_model,
        critic=arm.critic,
        candidates=arm.candidates,
        resample=settings.resample if name in REJECTING else 0,
        # What is rejected twice runs at once: the policy was not trained on hints.
        max_revisions=0 if settings.resample else LoopSettings().max_revisions,
        horizon=settings.horizon if arm.world_model is not None else 1,
        system_prompt=settings.prompt,
        memory=settings.memory,
        max_steps=settings.max_steps,
        on_exhausted="allow",
        on_failure="allow",
        surprise=False,  # it decides nothing, and would cost the arms with a model a forward pass
    )
    slots = asyncio.Semaphore(settings.concurrency)
    about = {"arm": name, "candidates": arm.candidates, "training_seed": settings.training_seed}
    outcomes: list[GameOutcome] = []
    failures: list[str] = []

    async def one(game: Path) -> None:
        async with slots:
            try:
                outcome = await play(graph, tools[0], game, about | {"key": keys[game]})
            except Exception as error:  # one game that fails must not take the others with it
                failures.append(f"{game.parts[-3]}/{game.parts[-2]}: {type(error).__name__}: {error}")
                return
        outcomes.append(outcome)
        append_outcome(path, outcome)
        progress(name, total - len(missing) + len(outcomes), total)

    await asyncio.gather(*(one(game) for game in missing))
    if failures:
        raise RuntimeError(
            f"{len(failures)} of {len(missing)} games of the arm {name!r} failed, the others are recorded and the "
            f"same command tries again; the first: {failures[0]}"
        )
    return outcomes


def _key(settings: AgentEvaluation, name: ArmName, game: Path) -> str:
    """Return the digest of everything that an outcome depends on."""
    adapters = [settings.policy, settings.world_model] if name in TRAINED else [settings.policy]
    weights = [_digest(a) for a in adapters if a is not None]
    shared = settings.model_dump(
        mode="json",
        include={"base", "dtype", "candidates", "temperature", "horizon", "max_steps", "seed", "prompt"},
    )
    if settings.memory != "thoughts":  # games that were recorded before there was a choice keep their key
        shared["memory"] = settings.memory
    if settings.resample:
        shared["resample"] = settings.resample
    critic = CRITIC if name in RANKED else ""
    return digest_of(RULES, name, critic, game.parts[-3:-1], weights, shared)[:32]


def _digest(adapter: Path) -> str:
    return file_digest(adapter.expanduser() / "adapter_model.safetensors")


def append_outcome(path: Path, outcome: GameOutcome) -> None:
    """Append one outcome; when this returns, it survives the death of the process."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        file.seek(0, os.SEEK_END)
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":  # a killed run left half a line; nothing may be glued to it
                file.write(b"\n")
        file.write(outcome.model_dump_json().encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def read_outcomes(path: Path) -> list[GameOutcome]:
    """Read recorded outcomes; a line that a killed run left half written is reported, and its game played again."""
    if not path.is_file():
        return []
    outcomes = []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        try:
            outcomes.append(GameOutcome.model_validate(json.loads(line)))
        except ValueError:
            logger.warning("%s:%d: not a whole record; its game is played again", path, number)
    return outcomes
