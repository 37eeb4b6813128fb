"""A prompted world model: any chat model, zero-shot or with a few example trajectories.

The conversation is the one of "From Word to World" (arXiv 2512.18832, section 3): the action is the user's
turn, what happens is the assistant's.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from dyna_nodes.asking import UNTRUSTED, answer_text, aside, fence, find_object, named, quoted
from dyna_nodes.codec.outcome import Outcome
from dyna_nodes.codec.world_model import Context
from dyna_nodes.nouns import Action, History, Prediction, Query, Trajectory

SuccessOf = Literal["task", "call"]

INSTRUCTION = """
You are the world that an agent acts in. Answer each action with exactly what its tool or environment will
answer: same wording, nothing added, nothing left out. If an action cannot have any effect, say what the world
says then. {untrusted}
Answer in this form and with nothing else:
<observation>
what the agent will see
</observation>
<success>yes if this {success}, otherwise no</success>{value}
"""
SUCCESS: Mapping[SuccessOf, str] = {
    "task": "action completes the task",
    "call": "call does what the user wants, and nothing else",
}
"""What is asked by ``success``."""
VALUE = "\n<value>from 0 to 100: how likely the task will be completed in the end, after this action</value>"

_OBSERVATION = re.compile(
    r"<observation>(.*?)(?:</observation>|<success>|<value>|\Z)", re.DOTALL | re.IGNORECASE
)
_SUCCESS = re.compile(r"<success>\s*(yes|no|true|false)\b", re.IGNORECASE)
_VALUE = re.compile(r"<value>\s*(-?\d+(?:\.\d+)?)", re.IGNORECASE)
_TAG = re.compile(r"<(\\*/?(?:observation|success|value)>)", re.IGNORECASE)
_ESCAPED_TAG = re.compile(r"<\\(\\*/?(?:observation|success|value)>)", re.IGNORECASE)


class ChatWorldModel:
    """Asks a chat model what an action would do.

    All queries of a call are one batch; the same question is asked once. An answer that cannot be read, or a
    model that raises, is a prediction with an ``error``.

    Args:
        model: Any chat model, or its name as `init_chat_model` takes it.
        examples: Trajectories that are shown before the question, whole; none is zero-shot.
        tools: What the tools do, by name.
        success_of: What a predicted success means: that the action completes the ``task``, which is right for games
            and for a last, decisive call; or that the ``call`` does what the user wants, for tools of which several
            are called on the way. Not asked with an ``instruction`` of your own.
        value: Also ask how likely the task will be completed in the end.
        context: ``agent``: a hidden state in the history is left out; ``privileged``: it is told to the
            model, and a history without one is an error.
        instruction: What the model is told instead of `INSTRUCTION`.
        name: Name in predictions; the model's own by default.
    """

    def __init__(
        self,
        model: BaseChatModel | str,
        *,
        examples: Sequence[Trajectory] = (),
        tools: Mapping[str, str] | None = None,
        success_of: SuccessOf = "task",
        value: bool = False,
        context: Context = "agent",
        instruction: str | None = None,
        name: str | None = None,
    ) -> None:
        if context not in ("agent", "privileged"):
            raise ValueError(f"unknown context {context!r}; choose 'agent' or 'privileged'")
        if success_of not in SUCCESS:
            raise ValueError(f"unknown success_of {success_of!r}; choose 'task' or 'call'")
        self.model = named(model)
        self.value = value
        self.context = context
        self.name = name or str(
            getattr(self.model, "model_name", None)
            or getattr(self.model, "model", None)
            or self.model.get_name()
        )
        default = INSTRUCTION.format(
            untrusted=UNTRUSTED, success=SUCCESS[success_of], value=VALUE if value else ""
        ).strip()
        parts = [default if instruction is None else instruction]
        if tools:
            parts.append("The tools:\n" + fence("tools", "\n".join(f"{k}: {v}" for k, v in tools.items())))
        self._opening: list[BaseMessage] = [SystemMessage("\n\n".join(parts))]
        for example in examples:
            self._opening += self._example(example)

    def predict(self, queries: Sequence[Query]) -> list[Prediction]:
        """Answer each query, in order."""
        batch = self._batch(queries)
        answers = (
            self.model.batch(batch.prompts, aside(self.name), return_exceptions=True) if batch.prompts else []
        )
        return self._predictions(batch, answers)

    async def apredict(self, queries: Sequence[Query]) -> list[Prediction]:
        """Answer each query, in order, without blocking the event loop."""
        batch = self._batch(queries)
        config = aside(self.name)
        answers = (
            await self.model.abatch(batch.prompts, config, return_exceptions=True) if batch.prompts else []
        )
        return self._predictions(batch, answers)

    def prompt(self, query: Query) -> list[BaseMessage]:
        """Return what the model is asked.

        Raises:
            ValueError: Privileged context without a hidden state.
        """
        messages = list(self._opening)
        for index, step in enumerate(query.history.steps):
            opening = self._task(query.history) if index == 0 else ""
            messages += [
                HumanMessage(opening + _asked(step.action)),
                AIMessage(self._answer(step.observation, False)),
            ]
        opening = "" if query.history.steps else self._task(query.history)
        beside = ""
        if query.siblings:
            beside = "\nAt the same time: " + fence("actions", "\n".join(a.text for a in query.siblings))
        messages.append(HumanMessage(opening + _asked(query.action) + beside))
        return messages

    def parse(self, answer: object) -> Prediction:
        """Turn the model's answer, or the exception that came instead, into a prediction."""
        usage = answer.usage_metadata if isinstance(answer, AIMessage) else None
        tokens = usage["output_tokens"] if usage else 0
        try:
            text = answer_text(answer)
            return _read(text).model_copy(update={"tokens": tokens, "model": self.name})
        except ValueError as error:
            return Prediction(model=self.name, tokens=tokens, error=str(error))

    def _batch(self, queries: Sequence[Query]) -> _Batch:
        batch = _Batch([], [])
        known: dict[tuple[str, ...], int] = {}
        for query in queries:
            key = (
                query.history.digest,
                query.history.hidden_state or "",
                query.action.digest,
                *(a.digest for a in query.siblings),
            )
            if key not in known:
                try:
                    prompt = self.prompt(query)
                except ValueError as error:
                    batch.asked.append(str(error))
                    continue
                known[key] = len(batch.prompts)
                batch.prompts.append(prompt)
            batch.asked.append(known[key])
        return batch

    def _predictions(self, batch: _Batch, answers: Sequence[object]) -> list[Prediction]:
        predictions: list[Prediction] = []
        paid: set[int] = set()
        parsed = [self.parse(answer) for answer in answers]
        for place in batch.asked:
            if isinstance(place, str):
                predictions.append(Prediction(model=self.name, error=place))
                continue
            again = {"tokens": 0} if place in paid else {}  # the same question again costs nothing
            predictions.append(parsed[place].model_copy(update=again))
            paid.add(place)
        return predictions

    def _task(self, history: History) -> str:
        hidden = ""
        if self.context == "privileged":
            if history.hidden_state is None:
                raise ValueError("the privileged context needs a hidden state, and the history has none")
            hidden = f"What only you know:\n{fence('hidden', history.hidden_state)}\n"
        return f"{hidden}The agent's task, and what it sees at first:\n{fence('task', history.task)}\n\n"

    def _answer(self, observation: str, success: bool) -> str:
        said = "yes" if success else "no"
        return f"<observation>\n{_TAG.sub(_escape, observation)}\n</observation>\n<success>{said}</success>"

    def _example(self, trajectory: Trajectory) -> list[BaseMessage]:
        messages: list[BaseMessage] = []
        for index, step in enumerate(trajectory.transitions):
            opening = self._task(trajectory.history(0, privileged=True)) if index == 0 else ""
            success = Outcome.of(step).success
            messages += [
                HumanMessage(opening + _asked(step.action)),
                AIMessage(self._answer(step.observation, success)),
            ]
        return messages


class _Batch(NamedTuple):
    """Distinct prompts, and for each query the index of its prompt or why it cannot be asked."""

    prompts: list[Any]
    asked: list[int | str]


def _asked(action: Action) -> str:
    return f"Action: {action.text}"


def _escape(match: re.Match[str]) -> str:
    return "<\\" + match[1]


def _read(text: str) -> Prediction:
    found = _OBSERVATION.findall(text)
    if found:
        observation = _ESCAPED_TAG.sub(r"<\1", found[-1]).strip()
        success, value = _SUCCESS.search(text), _VALUE.search(text)
        return _checked(
            observation,
            success[1].lower() in ("yes", "true") if success else None,
            float(value[1]) if value else None,
        )
    try:
        data = find_object(text, "observation")
    except ValueError:
        raise ValueError(f"the answer names no observation: {quoted(text)}") from None
    success_flag, number = data.get("success"), data.get("value")
    return _checked(
        str(data["observation"]).strip(),
        success_flag if isinstance(success_flag, bool) else None,
        float(number) if isinstance(number, int | float) and not isinstance(number, bool) else None,
    )


def _checked(observation: str, success: bool | None, percent: float | None) -> Prediction:
    if not observation:
        raise ValueError("the answer is empty")
    if percent is not None and not (math.isfinite(percent) and 0 <= percent <= 100):
        raise ValueError(f"the value {percent} lies outside 0 to 100")
    return Prediction(
        observation=observation,
        success=success,
        done=True if success else None,
        value=None if percent is None else percent / 100,
    )
