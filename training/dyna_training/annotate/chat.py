"""Annotation by a chat model: differences, critiques in three calls, judgements.

A critique is made as in Dyna-Think (arXiv 2506.00320, DDT): *extract* what the thinking simulates, *judge* it against
the true next observation, *inject* the hint after the sentence that it is about. A judgement is the first two calls.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from langchain_core.language_models import BaseChatModel
from pydantic import BaseModel

from dyna_nodes.nouns import Trajectory
from dyna_training.annotate import prompts
from dyna_training.annotate.annotator import (
    CRITIQUE,
    CRITIQUE_AFTER,
    DIFFERENCE,
    SIMULATED,
    SIMULATION_CONFIDENCE,
    SIMULATION_CORRECT,
    Annotation,
    AnnotationObjective,
    AnnotatorError,
)
from dyna_training.annotate.asking import RAISED, Asker, Question, Unanswered
from dyna_training.annotate.places import anchor, numbered, units
from dyna_training.annotate.prompts import Critique, Difference, Extraction, Judged, Place, Seen

if TYPE_CHECKING:
    from dyna_training.annotate.folder import AnnotateSettings

T = TypeVar("T", bound=BaseModel)


class ChatAnnotator:
    """Annotates turns by asking a chat model; all turns of a trajectory at once.

    Args:
        model: Any chat model.
        objective: What is asked for.
        name: Name for the record; the model's own when empty.
        attempts: How often each question is asked at most.
        concurrency: How many questions are open at a time.
    """

    def __init__(
        self,
        model: BaseChatModel,
        objective: AnnotationObjective,
        *,
        name: str = "",
        attempts: int = 3,
        concurrency: int = 8,
    ) -> None:
        self.name = name or model.get_name()
        self.objective = objective
        self.asker = Asker(model, attempts=attempts, concurrency=concurrency)

    @classmethod
    def from_settings(cls, settings: AnnotateSettings) -> ChatAnnotator:
        """Make the annotator that settings name.

        Raises:
            DynaError: There is no such model.
            LocalModelError: A local model cannot be loaded.
        """
        from dyna_graph.models import resolve_model
        from dyna_nodes.local import LocalChatModel

        options: dict[str, Any] = (
            {} if settings.temperature is None else {"temperature": settings.temperature}
        )
        model = resolve_model(settings.by, **options)
        if isinstance(model, LocalChatModel):
            model.load()
        return cls(
            model,
            settings.objective,
            name=settings.by,
            attempts=settings.attempts,
            concurrency=settings.concurrency,
        )

    def annotate(self, trajectory: Trajectory, indices: Sequence[int]) -> list[Annotation]:
        """Annotate the turns at ``indices``; one annotation for each.

        Raises:
            AnnotatorError: The model raised at every turn, or at every one of several in a later call.
        """
        turns = {index: Seen.of(trajectory, index) for index in indices}
        made = self._differences(turns) if self.objective == "difference" else self._judged(turns)
        return [made[index] for index in indices]

    def _differences(self, turns: Mapping[int, Seen]) -> dict[int, Annotation]:
        answers = self._first(
            Difference,
            {
                i: Question(prompts.difference_prompt(seen), _check(prompts.wrong_difference, seen))
                for i, seen in turns.items()
            },
        )
        return {
            i: _problem(i, "difference", answer)
            if isinstance(answer, Unanswered)
            else Annotation(i, {DIFFERENCE: answer.difference})
            for i, answer in answers.items()
        }

    def _judged(self, turns: Mapping[int, Seen]) -> dict[int, Annotation]:
        """Extract from every turn, judge those that simulate, and place the hints of critiques."""
        made: dict[int, Annotation] = {}
        simulated: dict[int, Extraction] = {}
        questions = {
            i: Question(prompts.extract_prompt(seen), prompts.wrong_extraction) for i, seen in turns.items()
        }
        for i, extraction in self._first(Extraction, questions).items():
            if isinstance(extraction, Unanswered):
                made[i] = _problem(i, "extract", extraction)
            elif extraction.has_world_model_simulation:
                simulated[i] = extraction
            else:
                made[i] = Annotation(i, labels={SIMULATED: 0.0})
        verdicts = self._verdicts(turns, simulated)
        made |= {i: _problem(i, "judge", v) for i, v in verdicts.items() if isinstance(v, Unanswered)}
        judged = {i: v for i, v in verdicts.items() if not isinstance(v, Unanswered)}
        critiques = {i: v for i, v in judged.items() if isinstance(v, Critique)}
        places = self._places(turns, simulated, critiques)
        for i, verdict in judged.items():
            place = places.get(i, "")
            labels = {
                SIMULATED: 1.0,
                SIMULATION_CORRECT: float(verdict.is_simulation_correct),
                SIMULATION_CONFIDENCE: verdict.confidence,
            }
            if isinstance(place, Unanswered):
                made[i] = _problem(i, "inject", place)
            elif isinstance(verdict, Critique):
                made[i] = Annotation(i, {CRITIQUE: verdict.in_context_hint, CRITIQUE_AFTER: place}, labels)
            else:
                made[i] = Annotation(i, labels=labels)
        return made

    def _verdicts(
        self, turns: Mapping[int, Seen], simulated: Mapping[int, Extraction]
    ) -> Mapping[int, Judged | Unanswered]:
        hint = self.objective == "critique"
        asked = {i: prompts.judge_prompt(turns[i], e, hint=hint) for i, e in simulated.items()}
        if hint:
            return self._ask(Critique, {i: Question(p, prompts.wrong_critique) for i, p in asked.items()})
        return self._ask(Judged, {i: Question(p) for i, p in asked.items()})

    def _places(
        self,
        turns: Mapping[int, Seen],
        simulated: Mapping[int, Extraction],
        critiques: Mapping[int, Critique],
    ) -> dict[int, str | Unanswered]:
        """Return the text that each hint follows."""
        found = {i: units(turns[i].thought) for i in critiques}
        questions = {
            i: Question(
                prompts.inject_prompt(
                    numbered(turns[i].thought, found[i]), simulated[i], turns[i], critique.in_context_hint
                ),
                _check(prompts.wrong_place, len(found[i])),
            )
            for i, critique in critiques.items()
        }
        return {
            i: place if isinstance(place, Unanswered) else anchor(turns[i].thought, found[i], place.id)
            for i, place in self._ask(Place, questions).items()
        }

    def _first(self, schema: type[T], questions: Mapping[int, Question[T]]) -> dict[int, T | Unanswered]:
        """Ask the first question about every turn."""
        return self._ask(schema, questions, enough=1)

    def _ask(
        self, schema: type[T], questions: Mapping[int, Question[T]], *, enough: int = 2
    ) -> dict[int, T | Unanswered]:
        """Ask; where the model only raises, at ``enough`` questions or more, it is its fault and not theirs."""
        answers = dict(zip(questions, self.asker.ask(schema, list(questions.values())), strict=True))
        raised = [a for a in answers.values() if isinstance(a, Unanswered) and a.kind == RAISED]
        if len(raised) == len(answers) >= enough:
            raise AnnotatorError(f"{self.name} raised at all of {len(raised)} turns: {raised[-1].detail}")
        return answers


U = TypeVar("U")


def _check(wrong: Callable[[T, U], str], given: U) -> Callable[[T], str]:
    """Bind what an answer is checked against."""
    return lambda answer: wrong(answer, given)


def _problem(index: int, call: str, why: Unanswered) -> Annotation:
    return Annotation(index, problem=f"{call}, {why}")
