"""Asking a chat model for records: structured where the model offers it, else read from JSON in any shape."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Generic, NamedTuple, TypeVar

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.runnables import Runnable, RunnableConfig
from pydantic import BaseModel, ValidationError

from dyna_nodes.asking import answer_text, aside, quoted
from dyna_nodes.experience.lines import explain

T = TypeVar("T", bound=BaseModel)

RAISED: Final = "the model raised"
UNREADABLE: Final = "the answer cannot be read"
INVALID: Final = "the answer breaks a rule"
_TRAILING_COMMA: Final = re.compile(r",(\s*[}\]])")


class Unanswered(NamedTuple):
    """Why a question has no answer.

    Attributes:
        kind: `RAISED`, `UNREADABLE` or `INVALID`.
        detail: What exactly was found at the last attempt.
    """

    kind: str
    detail: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.detail}"


class Question(NamedTuple, Generic[T]):
    """A question to a chat model.

    Attributes:
        messages: What it is asked.
        check: Says what is wrong with an answer of the right form; empty when nothing is.
    """

    messages: Sequence[BaseMessage]
    check: Callable[[T], str] = lambda _: ""


class Asker:
    """Asks a chat model for records, many questions at a time.

    The first attempt uses the model's structured output where it has one. Answers that raise, cannot be read or
    break a rule are asked for again in plain text, with what was wrong.

    Args:
        model: Any chat model.
        attempts: How often a question is asked at most.
        concurrency: How many questions are open at a time.
    """

    def __init__(self, model: BaseChatModel, *, attempts: int = 3, concurrency: int = 8) -> None:
        self.model = model
        self.attempts = attempts
        self.concurrency = concurrency

    def ask(self, schema: type[T], questions: Sequence[Question[T]]) -> list[T | Unanswered]:
        """Return the answer to each question, or why there is none, in order."""
        found: dict[int, T | Unanswered] = {}
        prompts = [list(question.messages) for question in questions]
        left = list(range(len(questions)))
        config = RunnableConfig(**aside(f"annotate {schema.__name__}"), max_concurrency=self.concurrency)
        model = self._structured(schema) or self.model
        for _ in range(self.attempts):
            if not left:
                break
            answers = model.batch([prompts[i] for i in left], config, return_exceptions=True)
            for i, answer in zip(left, answers, strict=True):
                found[i] = value = read(answer, schema, questions[i].check)
                if isinstance(value, Unanswered):
                    prompts[i] = [*questions[i].messages, *_once_more(answer, value)]
            left = [i for i in left if isinstance(found[i], Unanswered)]
            model = self.model
        return [found[i] for i in range(len(questions))]

    def _structured(self, schema: type[BaseModel]) -> Runnable[Any, Any] | None:
        """Return the model with structured output; None where it has none."""
        try:
            return self.model.with_structured_output(schema, include_raw=True)
        except NotImplementedError:
            return None


def read(answer: object, schema: type[T], check: Callable[[T], str] = lambda _: "") -> T | Unanswered:
    """Read an answer as a record.

    Args:
        answer: A message, the dictionary of a structured output with its raw message, or an exception.
        schema: The form of the record.
        check: Says what is wrong with a record of the right form.
    """
    if isinstance(answer, BaseException):
        return Unanswered(RAISED, f"{type(answer).__name__}: {answer}")
    message = answer.get("raw") if isinstance(answer, dict) else answer
    try:
        value = schema.model_validate(_object(message, schema))
    except ValidationError as error:
        return Unanswered(INVALID, explain(error))
    except ValueError as error:
        return Unanswered(UNREADABLE, str(error))
    wrong = check(value)
    return Unanswered(INVALID, wrong) if wrong else value


def _object(message: object, schema: type[BaseModel]) -> dict[str, Any]:
    """Return the object that an answer holds: the arguments of a call, or JSON in the text."""
    if isinstance(message, AIMessage) and message.tool_calls:
        return dict(message.tool_calls[0]["args"])
    return loose_object(answer_text(message), next(iter(schema.model_fields)))


def loose_object(text: str, key: str) -> dict[str, Any]:
    """Return the last object with ``key`` in a text.

    Fences and text around it do not matter; newlines inside of strings, trailing commas and Python's way of
    writing dictionaries are read too.

    Raises:
        ValueError: There is none.
    """
    found = [value for value in _objects(text) if key in value]
    if not found:
        raise ValueError(f"no JSON object with {key!r} in {quoted(text)}")
    return found[-1]


def _objects(text: str) -> Iterator[dict[str, Any]]:
    decoder = json.JSONDecoder(strict=False)
    text, end = _TRAILING_COMMA.sub(r"\1", text), 0
    for match in re.finditer(r"\{", text):
        if match.start() < end:
            continue
        try:
            value, end = decoder.raw_decode(text, match.start())
        except ValueError:
            continue
        if isinstance(value, dict):
            yield value
    if not end:
        try:
            value = ast.literal_eval(text[text.index("{") : text.rindex("}") + 1])
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return
        if isinstance(value, dict):
            yield value


def _once_more(answer: object, wrong: Unanswered) -> list[BaseMessage]:
    """Return what is added to a question that is asked again; after an exception, nothing."""
    message = answer.get("raw") if isinstance(answer, dict) else answer
    if not isinstance(message, AIMessage):
        return []
    said = message.text or json.dumps([call["args"] for call in message.tool_calls])
    return [
        AIMessage(said),
        HumanMessage(
            f"That cannot be used: {wrong.detail}. Answer with one JSON object of the form asked for."
        ),
    ]
