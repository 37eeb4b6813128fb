"""The nouns of dyna-graph: what every node, file, event and command speaks of.

All are frozen pydantic models that serialise themselves; nothing else holds state. Unknown keys are refused,
so a file written by another version says so at once instead of losing a field silently.
"""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

TRAJECTORY_FORMAT: Literal["dyna-trajectory/1"] = "dyna-trajectory/1"
COMMAND_TOOL = "act"
"""Name of the tool that a text environment offers; its only argument is ``command``."""
TRUNCATED = "truncated"
"""Label 1 of a step at which the episode was cut off, by a limit of steps for example: it did not end by itself."""


class Noun(BaseModel):
    """Base of the nouns: frozen, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


def canonical_json(value: object) -> str:
    """Write ``value`` as JSON that is equal for equal values (sorted keys, no spaces)."""
    return _ENCODER.encode(value)


_ENCODER = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)


def digest_of(*parts: object) -> str:
    """Return the hexadecimal SHA-256 over the canonical JSON of ``parts``."""
    return hashlib.sha256(canonical_json(parts).encode("utf-8", "surrogatepass")).hexdigest()


def new_id() -> str:
    """Return an id that is unique across processes and machines (UUID4, 32 hexadecimal digits)."""
    return uuid.uuid4().hex


class Action(Noun):
    """A tool call: which tool, with which arguments.

    Attributes:
        tool: The tool's name.
        arguments: Its arguments by name; JSON values.
    """

    tool: str
    arguments: Mapping[str, Any] = Field(default_factory=dict)

    @classmethod
    def command(cls, text: str) -> Action:
        """Return the action that sends ``text`` to a text environment."""
        return cls(tool=COMMAND_TOOL, arguments={"command": text})

    @property
    def text(self) -> str:
        """Canonical text: the bare command for a text environment, else ``tool({"argument": value})``."""
        if self.tool == COMMAND_TOOL and set(self.arguments) == {"command"}:
            return str(self.arguments["command"])
        arguments = json.dumps(dict(self.arguments), sort_keys=True, ensure_ascii=False, default=str)
        return f"{self.tool}({arguments})"

    @property
    def digest(self) -> str:
        """SHA-256 of tool and arguments."""
        return digest_of(self.tool, dict(self.arguments))


class Step(Noun):
    """An executed action and what was really observed."""

    action: Action
    observation: str


class History(Noun):
    """What a world model is conditioned on: the task and the executed (action, observation) pairs.

    No thoughts, no hints and no rejected calls belong here.

    Attributes:
        task: The task as the agent was given it; for an environment, its first observation.
        steps: Executed steps, oldest first.
        hidden_state: The environment's hidden state at the start (privileged context); None in agent context.
    """

    task: str
    steps: tuple[Step, ...] = ()
    hidden_state: str | None = None

    @property
    def digest(self) -> str:
        """SHA-256 of task and steps; a verdict is bound to the history it was judged on."""
        return digest_of(self.task, [(s.action.digest, s.observation) for s in self.steps])

    def then(self, action: Action, observation: str) -> History:
        """Return this history with one more executed step."""
        return self.model_copy(update={"steps": (*self.steps, Step(action=action, observation=observation))})


class Query(Noun):
    """A question to a world model: what would ``action`` do after ``history``?

    Attributes:
        history: What has happened so far (imagined steps included, when looking further ahead).
        action: The action to imagine.
        session: Handle of the live environment session, for the *environment* world model.
        imagined: How many of the last steps of ``history`` are imagined rather than executed.
        siblings: Other actions proposed in the same message, which run beside this one.
        thinking: What the policy thought when it proposed the action. Told only to a world model that asks for
            it (``reads_thinking``); to any other it stays empty.
    """

    history: History
    action: Action
    session: str | None = None
    imagined: int = 0
    siblings: tuple[Action, ...] = ()
    thinking: str = ""


class Prediction(Noun):
    """What a world model says an action would do.

    Attributes:
        observation: The imagined observation.
        difference: The imagined change of state, from models trained on differences.
        reward: Imagined reward of this step.
        done: Whether the episode is imagined to end here.
        success: Whether the task is imagined to be solved by this step.
        value: Imagined return-to-go after this step, in [0, 1].
        confidence: The model's confidence in [0, 1].
        tokens: Number of generated tokens.
        model: Which model said it.
        error: Why there is no prediction (the model raised, timed out or answered nonsense); None when there
            is one.
    """

    observation: str | None = None
    difference: str | None = None
    reward: float | None = None
    done: bool | None = None
    success: bool | None = None
    value: float | None = None
    confidence: float | None = None
    tokens: int = 0
    model: str = ""
    error: str | None = None


class ImaginedStep(Noun):
    """One step inside a simulation."""

    action: Action
    prediction: Prediction


class Simulation(Noun):
    """The imagined future of one proposed tool call.

    Attributes:
        candidate: Index of the candidate message that proposed the call.
        call_id: Id of the tool call in that message.
        steps: Imagined steps; the first is the proposed call, at most ``horizon`` of them.
        value: Imagined, discounted return of the whole simulation; None when the world model predicts none.
        log_probability: Log-probability of the candidate under the policy, where the model reports it.
        inner: What the policy's own thinking imagines of the proposed action, where that is recorded beside the
            world model's prediction.
    """

    candidate: int
    call_id: str
    steps: tuple[ImaginedStep, ...]
    value: float | None = None
    log_probability: float | None = None
    inner: Prediction | None = None

    @property
    def action(self) -> Action:
        """The proposed action."""
        return self.steps[0].action

    @property
    def prediction(self) -> Prediction:
        """The imagined outcome of the proposed action."""
        return self.steps[0].prediction


class Decision(StrEnum):
    """What a critic may decide about one call."""

    APPROVE = "approve"
    MODIFY = "modify"
    REJECT = "reject"
    ESCALATE = "escalate"
    END = "end"


class Verdict(Noun):
    """A critic's decision about exactly one call.

    Attributes:
        decision: What is to happen.
        reason: Why, for people and logs.
        hint: What the policy is told when the call is rejected.
        score: The simulation's score; higher is better; only comparable within one critic.
        critic: Who decided.
        action: The changed action of a ``modify`` verdict.
        failed: True when the critic (or the world model it needs) broke and the failure policy decided.
        digest: What the verdict is bound to: tool identity, arguments and history; see `bind`.
        expires_at: Unix time in seconds after which the verdict no longer counts; None means never.
    """

    decision: Decision
    reason: str = ""
    hint: str = ""
    score: float | None = None
    critic: str = ""
    action: Action | None = None
    failed: bool = False
    digest: str = ""
    expires_at: float | None = None

    def bind(self, action: Action, history: History, identity: str, ttl: float | None = None) -> Verdict:
        """Return this verdict bound to one action, history and tool identity, valid for ``ttl`` seconds."""
        expires = None if ttl is None else time.time() + ttl
        return self.model_copy(update={"digest": binding(action, history, identity), "expires_at": expires})

    def covers(self, action: Action, history: History, identity: str, now: float | None = None) -> bool:
        """Tell whether this verdict is about exactly this action, history and tool, and still valid."""
        if self.expires_at is not None and (time.time() if now is None else now) > self.expires_at:
            return False
        return self.digest == binding(action, history, identity)


def binding(action: Action, history: History, identity: str) -> str:
    """Return the digest that binds a verdict: tool name and identity, arguments, and the judged history."""
    return digest_of(action.digest, history.digest, identity)


class Provenance(Noun):
    """Where a transition comes from.

    Attributes:
        source: ``agent``, ``collect``, ``replay`` or ``imagination``.
        policy: The behaviour that chose the action.
        environment: Environment id and game, where there is one.
        split: Data split of the game, where there is one.
        seed: Seed of the episode.
        thread: LangGraph thread id.
        origin: What it was read from afterwards, such as a database of checkpoints; empty for what was recorded
            while it happened.
        versions: Versions of the packages and models involved.
    """

    source: Literal["agent", "collect", "replay", "imagination"] = "agent"
    policy: str = ""
    environment: str = ""
    split: str = ""
    seed: int | None = None
    thread: str = ""
    origin: str = ""
    versions: Mapping[str, str] = Field(default_factory=dict)


class Counterfactual(Noun):
    """Another action tried in a fork of the environment: what it would have done in the same state.

    Attributes:
        action: The action that was not executed.
        observation: What it led to in the fork.
        reward: Its reward.
        done: Whether it ended the episode.
        labels: As in `Transition`; ``return_to_go`` is the return after this action.
    """

    action: Action
    observation: str
    reward: float | None = None
    done: bool | None = None
    labels: Mapping[str, float] = Field(default_factory=dict)


class Transition(Noun):
    """One executed action with everything known about it.

    Attributes:
        id: Unique id; the experience log drops a second record with the same id.
        trajectory: Id of the trajectory it belongs to.
        index: Position in the trajectory, from 0.
        task: The task, as in `History`.
        history: Digest of the history before this step.
        thought: What the policy wrote before the call.
        action: The executed action.
        prediction: What the world model had imagined; None where nothing was imagined.
        inner: What the policy's own thinking had imagined, where that is recorded beside the prediction.
        verdict: The verdict under which it ran; None where no critic was asked.
        observation: The real observation.
        reward: Real reward, where the tool reports one.
        done: Real end flag, where the tool reports one.
        status: ``ok``, ``error`` (the tool raised) or ``unknown`` (it never answered).
        scores: Match of prediction and reality: ``exact``, ``f1``, ``outcome``, ``surprise``; of a simulation
            in the policy's thinking also ``holds`` and ``certain_holds``. Those of ``inner`` begin with
            ``inner_``.
        labels: Further training labels, e.g. ``return_to_go`` in [0, 1], ``determined`` (1 when the
            history determines the observation, 0 for a first look), ``simulation_correct`` (1 when what the
            policy's thinking imagined came true, 0 when not) and ``truncated`` (1 when the tool reports that the
            episode was cut off).
        notes: What was written about the step afterwards, for training: ``difference`` (what the action changed),
            ``critique`` (a sentence about the simulation in ``thought``) and ``critique_after`` (the line of
            ``thought`` that it follows).
        counterfactuals: Other actions that were tried in forks of the state before this step.
        time: Unix time in seconds.
        provenance: Where it comes from.
    """

    id: str = Field(default_factory=new_id)
    trajectory: str = ""
    index: int = 0
    task: str = ""
    history: str = ""
    thought: str = ""
    action: Action
    prediction: Prediction | None = None
    inner: Prediction | None = None
    verdict: Verdict | None = None
    observation: str = ""
    reward: float | None = None
    done: bool | None = None
    status: Literal["ok", "error", "unknown"] = "ok"
    scores: Mapping[str, float] = Field(default_factory=dict)
    labels: Mapping[str, float] = Field(default_factory=dict)
    notes: Mapping[str, str] = Field(default_factory=dict)
    counterfactuals: tuple[Counterfactual, ...] = ()
    time: float = Field(default_factory=time.time)
    provenance: Provenance = Provenance()


class Trajectory(Noun):
    """One run of an agent from the task to the end; a file of it explains itself.

    Attributes:
        format: Name and version of the format.
        id: Unique id.
        task: The task, as in `History`.
        hidden_state: Hidden state of the environment at the start, where it is known.
        transitions: The executed steps, oldest first.
        outcome: ``success``, ``failure``, ``truncated`` or ``unknown``.
        configuration: The configuration it ran with.
        provenance: Where it comes from.
    """

    format: Literal["dyna-trajectory/1"] = TRAJECTORY_FORMAT
    id: str = Field(default_factory=new_id)
    task: str
    hidden_state: str | None = None
    transitions: tuple[Transition, ...] = ()
    outcome: Literal["success", "failure", "truncated", "unknown"] = "unknown"
    configuration: Mapping[str, Any] = Field(default_factory=dict)
    provenance: Provenance = Provenance()

    def history(self, before: int | None = None, *, privileged: bool = False) -> History:
        """Return the history before step ``before`` (all steps when None).

        Args:
            before: Index of the first transition that is left out.
            privileged: Include the hidden state of the start.
        """
        steps = tuple(Step(action=t.action, observation=t.observation) for t in self.transitions[:before])
        return History(task=self.task, steps=steps, hidden_state=self.hidden_state if privileged else None)
