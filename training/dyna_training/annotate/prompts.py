"""What a chat model is asked about a recorded turn, and the form of its answers.

The wording is this project's; the questions, their fields and the three calls of a critique are those of Dyna-Think
(arXiv 2506.00320, DDT).
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage
from pydantic import BaseModel, Field, field_validator

from dyna_nodes.asking import UNTRUSTED, fence
from dyna_nodes.codec.thinking import CORRECT, WRONG
from dyna_nodes.nouns import Trajectory
from dyna_training.annotate.annotator import NO_CHANGES
from dyna_training.traces.sentences import sentences

MOST_SENTENCES: Final = 3
"""Longest difference, in sentences."""
_NOTHING: Final = re.compile(r"(there (are|were) )?(no|nothing) chang(es?|ed)\W*", re.IGNORECASE)
_EXPLAINS: Final = re.compile(
    r"\b(because|therefore|in order to|this (means|suggests|indicates)|should|probably|likely)\b",
    re.IGNORECASE,
)

DIFFERENCE_INSTRUCTION: Final = f"""
You write training data for an agent that learns what its actions do. You see what the agent observed before an
action, the action, and what it observed after it. Say what the action changed.
- At most {MOST_SENTENCES} short sentences.
- Say what is different for somebody who acts there: what is where, what is open, what is held, what can be done now.
- Only what this action caused; nothing that was so before.
- No explanations, no guesses, no advice.
- If both observations are the same, or the last one says that nothing happened, the difference is: {NO_CHANGES}
{UNTRUSTED}
Answer with one JSON object and nothing else:
{{"difference": "what the action changed"}}
""".strip()

EXTRACT_INSTRUCTION: Final = f"""
You read what an agent thought before it acted, and extract what it imagined. You see its task, its last
observation, its thinking and the action that it then executed.
- has_world_model_simulation: true only if the thinking imagines what the executed action, or a plan that begins with
  it, will lead to. Naming an action, or wishing for something, is no simulation.
- plan: the plan of the agent in one sentence; empty if it has none.
- actions: every action that the thinking considers, in order, each with the effect that the agent expects of it, in the
  agent's words; an empty effect where it expects none.
Add nothing that the thinking does not say.
{UNTRUSTED}
Answer with one JSON object and nothing else:
{{"has_world_model_simulation": true | false, "plan": "…",
 "actions": [{{"action": "…", "intended_effect": "…"}}]}}
""".strip()

_JUDGE: Final = """
You judge whether an agent imagined correctly what its action would do. You see its task, what it had observed, what
it imagined, the action that was executed, and what was really observed after it. Judge only what that observation
can tell about the executed action.
- is_simulation_correct: true if the real observation bears out what was imagined; false if it contradicts it, or if
  the action failed though it was imagined to work.
- confidence: how sure you are, from 0 (a guess) to 5 (certain).
- reason: one sentence.
""".strip()
JUDGE_INSTRUCTION: Final = f"""
{_JUDGE}
{UNTRUSTED}
Answer with one JSON object and nothing else:
{{"is_simulation_correct": true | false, "confidence": 0 to 5, "reason": "…"}}
""".strip()
CRITIQUE_INSTRUCTION: Final = f"""
{_JUDGE}
- in_context_hint: one or two sentences that the agent could have thought right after imagining this, before it acted.
  They begin with "{CORRECT.strip()}" if the simulation is correct and say what it gets right, or with
  "{WRONG.strip()}" if it is not and say what will happen instead. They do not mention that the action was executed.
{UNTRUSTED}
Answer with one JSON object and nothing else:
{{"is_simulation_correct": true | false, "confidence": 0 to 5, "reason": "…",
 "in_context_hint": "{CORRECT}…" | "{WRONG}…"}}
""".strip()

INJECT_INSTRUCTION: Final = f"""
You find the place of a remark in an agent's thinking. Every sentence of the thinking has a number, [[id=0]],
[[id=1]] and so on, in front of it. The remark is about what the agent imagined that its action would do. Name the id of
the sentence after which the remark belongs: the one that says, or ends, what it is about.
{UNTRUSTED}
Answer with one JSON object and nothing else:
{{"id": number}}
""".strip()


class Difference(BaseModel):
    """What an action changed."""

    difference: str = Field(min_length=1, description="What the action changed, in at most three sentences.")

    @field_validator("difference")
    @classmethod
    def _one_way_to_say_nothing(cls, text: str) -> str:
        text = " ".join(text.split())
        return NO_CHANGES if _NOTHING.fullmatch(text) else text


class ImaginedAction(BaseModel):
    """An action that a thinking considers."""

    action: str
    intended_effect: str = ""


class Extraction(BaseModel):
    """What a thinking imagines."""

    has_world_model_simulation: bool
    plan: str = ""
    actions: list[ImaginedAction] = Field(default_factory=list)


class Judged(BaseModel):
    """Whether a simulation came true."""

    is_simulation_correct: bool
    confidence: float = Field(ge=0, le=5, description="From 0, a guess, to 5, certain.")
    reason: str = Field(min_length=1, description="One sentence.")


class Critique(Judged):
    """Whether a simulation came true, and what the agent could have thought of it."""

    in_context_hint: str = Field(description=f'Begins with "{CORRECT}" or "{WRONG}".')

    @field_validator("in_context_hint")
    @classmethod
    def _one_line(cls, text: str) -> str:
        return " ".join(text.split())


class Place(BaseModel):
    """The sentence that a remark follows."""

    id: int = Field(description="Number of the sentence.")


class Seen(NamedTuple):
    """A turn with hindsight.

    Attributes:
        task: The task.
        before: What had been observed before the action; the task itself in the first turn.
        thought: What the agent thought.
        action: What it executed.
        after: What was observed then.
    """

    task: str
    before: str
    thought: str
    action: str
    after: str

    @classmethod
    def of(cls, trajectory: Trajectory, index: int) -> Seen:
        """Return a turn of a trajectory."""
        step = trajectory.transitions[index]
        before = trajectory.transitions[index - 1].observation if index else trajectory.task
        return cls(trajectory.task, before, step.thought, step.action.text, step.observation)


def difference_prompt(seen: Seen) -> list[BaseMessage]:
    """Ask what the action changed."""
    return _prompt(DIFFERENCE_INSTRUCTION, seen, ("before", "action", "after"))


def extract_prompt(seen: Seen) -> list[BaseMessage]:
    """Ask what the thinking imagines."""
    return _prompt(EXTRACT_INSTRUCTION, seen, ("task", "before", "thought", "action"))


def judge_prompt(seen: Seen, extraction: Extraction, *, hint: bool) -> list[BaseMessage]:
    """Ask whether what was imagined came true, and for a hint if wanted."""
    imagined = [f"plan: {extraction.plan}"] if extraction.plan else []
    imagined += [
        f"action: {a.action}\nexpected: {a.intended_effect or 'nothing'}" for a in extraction.actions
    ]
    instruction = CRITIQUE_INSTRUCTION if hint else JUDGE_INSTRUCTION
    return _prompt(
        instruction, seen, ("task", "before", "action", "after"), [("imagined", "\n".join(imagined))]
    )


def inject_prompt(numbered: str, extraction: Extraction, seen: Seen, hint: str) -> list[BaseMessage]:
    """Ask where the hint belongs."""
    effects = [a.intended_effect for a in extraction.actions if a.intended_effect]
    extra = [("thinking", numbered), ("imagined", "\n".join(effects)), ("remark", hint)]
    return _prompt(INJECT_INSTRUCTION, seen, ("action",), extra)


def wrong_difference(answer: Difference, seen: Seen) -> str:
    """Say what is wrong with a difference; empty when nothing is."""
    text = answer.difference
    if seen.before == seen.after and text != NO_CHANGES:
        return f"both observations are the same, so the difference is {NO_CHANGES!r}"
    count = len(sentences(text))
    if count > MOST_SENTENCES:
        return f"{count} sentences, more than {MOST_SENTENCES}"
    explains = _EXPLAINS.search(text)
    return f"it explains or guesses ({explains[0]!r})" if explains else ""


def wrong_extraction(answer: Extraction) -> str:
    """Say what is wrong with an extraction; empty when nothing is."""
    if answer.has_world_model_simulation and not any(a.intended_effect.strip() for a in answer.actions):
        return "has_world_model_simulation is true, but no action has an intended_effect"
    return ""


def wrong_critique(answer: Critique) -> str:
    """Say what is wrong with a critique; empty when nothing is."""
    opening = CORRECT if answer.is_simulation_correct else WRONG
    if not answer.in_context_hint.startswith(opening):
        judged = str(answer.is_simulation_correct).lower()
        return f"is_simulation_correct is {judged}, so in_context_hint begins with {opening!r}"
    return "" if answer.in_context_hint.removeprefix(opening).strip() else "in_context_hint says nothing"


def wrong_place(answer: Place, count: int) -> str:
    """Say what is wrong with a place among ``count`` sentences; empty when nothing is."""
    return "" if 0 <= answer.id < count else f"there is no sentence {answer.id}, only 0 to {count - 1}"


_HEADINGS: Final = {
    "task": "The task:",
    "before": "Observed before the action:",
    "thought": "What the agent thought:",
    "action": "The executed action:",
    "after": "Observed after the action:",
    "imagined": "What the agent imagined:",
    "thinking": "The thinking:",
    "remark": "The remark:",
}


def _prompt(
    instruction: str, seen: Seen, shown: tuple[str, ...], extra: list[tuple[str, str]] | None = None
) -> list[BaseMessage]:
    """Return instruction and texts, all of them as data; what the first turn saw is the task, shown once."""
    first = "task" in shown and seen.before == seen.task
    texts = [(name, getattr(seen, name)) for name in shown if not (first and name == "before")]
    parts = [f"{_HEADINGS[name]}\n{fence(name, text)}" for name, text in [*texts, *(extra or [])]]
    return [SystemMessage(instruction), HumanMessage("\n".join(parts))]
