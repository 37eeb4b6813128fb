"""A chat model judges."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage

from dyna_nodes.asking import UNTRUSTED, answer_text, aside, fence, find_object, held_to, named, quoted
from dyna_nodes.critics.base import failure
from dyna_nodes.nouns import Decision, History, Simulation, Verdict

INSTRUCTION = """
You check the actions of an agent before they run. You see the task, what has happened so far, one proposed
action and what a world model predicts that it will do. Approve an action that brings the task forward or
tells the agent something it needs; reject one that is predicted to fail, to do harm, or to change nothing;
escalate to a human what you cannot decide.
{untrusted}
Answer with one JSON object and nothing else:
{{"decision": "approve" | "reject" | "escalate",
 "score": number from 0 (useless or harmful) to 1 (best),
 "reason": "one sentence",
 "hint": "one sentence that tells the agent what to do instead; empty when approved"}}
"""

_DECISIONS = (Decision.APPROVE, Decision.REJECT, Decision.ESCALATE)

SCHEMA: dict[str, Any] = {
    "title": "Verdict",
    "description": "What becomes of the proposed action.",
    "type": "object",
    "properties": {
        "decision": {"type": "string", "enum": [d.value for d in _DECISIONS]},
        "score": {"type": "number", "minimum": 0, "maximum": 1},
        "reason": {"type": "string", "maxLength": 240},
        "hint": {"type": "string", "maxLength": 240},
    },
    "required": ["decision", "score", "reason", "hint"],
    "additionalProperties": False,
}
"""What a model that can be held to a JSON schema is held to; the texts are short, so that no answer is cut off."""


class JudgeCritic:
    """Asks a chat model for a verdict on every simulation, all in one batch.

    Everything that comes from tools, environments, the policy or the world model is shown as data. A model whose
    profile says that it can is held to a verdict's JSON schema, as all models behind a vLLM server are. An answer that
    is no verdict, or a model that raises, is a failed verdict of that simulation.

    Args:
        model: Any chat model, or its name as `init_chat_model` takes it.
        instruction: What the judge is told; `INSTRUCTION` by default.
        last_steps: How many of the last executed steps it sees.
        name: Name in verdicts.
    """

    def __init__(
        self,
        model: BaseChatModel | str,
        *,
        instruction: str | None = None,
        last_steps: int = 20,
        name: str = "judge",
    ) -> None:
        self.model = named(model)
        self._asked = held_to(self.model, SCHEMA)
        # LangGraph streams the messages of a chain that is called as the node around it; no node has a colon.
        self._run = name if self._asked is self.model else f"{name}:held"
        self.instruction = (
            INSTRUCTION.format(untrusted=UNTRUSTED).strip() if instruction is None else instruction
        )
        self.last_steps = last_steps
        self.name = name

    def judge(self, history: History, simulations: Sequence[Simulation]) -> list[Verdict]:
        """Return one verdict per simulation, in order."""
        prompts, asked = self._prompts(history, simulations)
        answers = self._asked.batch(prompts, aside(self._run), return_exceptions=True) if prompts else []
        return self._verdicts(simulations, asked, answers)

    async def ajudge(self, history: History, simulations: Sequence[Simulation]) -> list[Verdict]:
        """Return one verdict per simulation, in order, without blocking the event loop."""
        prompts, asked = self._prompts(history, simulations)
        answers = (
            await self._asked.abatch(prompts, aside(self._run), return_exceptions=True) if prompts else []
        )
        return self._verdicts(simulations, asked, answers)

    def _prompts(self, history: History, simulations: Sequence[Simulation]) -> tuple[list[Any], list[int]]:
        asked = [i for i, s in enumerate(simulations) if s.prediction.error is None]
        return [self.prompt(history, simulations[i]) for i in asked], asked

    def _verdicts(
        self, simulations: Sequence[Simulation], asked: Sequence[int], answers: Sequence[Any]
    ) -> list[Verdict]:
        by_index = dict(zip(asked, answers, strict=True))
        return [
            self._verdict(by_index[i])
            if i in by_index
            else failure(self.name, f"no prediction: {s.prediction.error}")
            for i, s in enumerate(simulations)
        ]

    def prompt(self, history: History, simulation: Simulation) -> list[BaseMessage]:
        """Return what the judge is asked about one simulation."""
        steps = history.steps[-self.last_steps :] if self.last_steps else ()
        past = "\n".join(f"action: {s.action.text}\nobservation: {s.observation}" for s in steps)
        parts = [
            "Task:",
            fence("task", history.task),
            f"The last {len(steps)} of {len(history.steps)} executed steps:",
            fence("history", past or "nothing yet"),
            "Proposed action:",
            fence("action", simulation.action.text),
        ]
        for index, step in enumerate(simulation.steps):
            prediction = step.prediction
            known = prediction.model_dump(
                include={"success", "reward", "value", "confidence"}, exclude_none=True
            )
            if index:
                parts += [f"Imagined next action {index + 1}:", fence("action", step.action.text)]
            parts += [
                "Predicted outcome:",
                fence("prediction", prediction.observation or prediction.difference or ""),
            ]
            if known:
                parts.append("Predicted figures: " + json.dumps(known, sort_keys=True))
        return [SystemMessage(self.instruction), HumanMessage("\n".join(parts))]

    def _verdict(self, answer: object) -> Verdict:
        try:
            return self._parse(answer_text(answer))
        except ValueError as error:
            return failure(self.name, f"the judge gave no verdict: {error}")

    def _parse(self, text: str) -> Verdict:
        data = find_object(text, "decision")
        name = str(data["decision"]).strip().lower()
        if name not in _DECISIONS:
            raise ValueError(f"decision {quoted(name)} is none of {', '.join(_DECISIONS)}")
        decision = Decision(name)
        score = data.get("score", 1.0 if decision is Decision.APPROVE else 0.0)
        if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score):
            raise ValueError(f"score {score!r} is not a number")
        if not 0 <= score <= 1:
            raise ValueError(f"score {score} lies outside [0, 1]")
        reason, hint = str(data.get("reason") or ""), str(data.get("hint") or "")
        if decision is Decision.REJECT and not hint:
            hint = reason or "A judge rejected this action; try another one."
        return Verdict(
            decision=decision, reason=f"judge: {reason}", hint=hint, score=float(score), critic=self.name
        )
