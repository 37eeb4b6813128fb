"""Abbreviation by a chat model, with the procedure of Dyna-Think (arXiv 2506.00320, DIT).

The model is given the agent's system prompt, the last observation, the full response and the executed action, and one
example. It is asked several times for each turn (5 in the paper); the caller takes the shortest valid answer.
The instruction and the example are this project's own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.runnables import RunnableConfig

from dyna_nodes.asking import UNTRUSTED, answer_text, aside, fence
from dyna_nodes.nouns import digest_of
from dyna_training.traces.abbreviator import Abbreviation, Turn
from dyna_training.traces.answers import Answers
from dyna_training.traces.importing import TracesError
from dyna_training.traces.thinking import last_thinking, thought_text

if TYPE_CHECKING:
    from dyna_training.traces.abbreviating import AbbreviateSettings

RAISED: Final = "the model raised"
OUT_OF_FORMAT: Final = "the model answered out of format"
TURNS_RAISED: Final = 20
"""So many turns in a row about which the model only raised end the work."""

INSTRUCTION: Final = f"""
You shorten the thinking of an agent, so that a smaller model can learn from it. You see the agent's system prompt,
what it observed last, its full response (its thinking in <think> tags, then its action), and the executed action.

Keep only these parts of the thinking:
1. the verification of what the previous action did;
2. the candidates for the next action;
3. what the agent imagines that the executed action will do;
4. the text that connects 2 and 3: why one candidate is taken and another is not;
5. code snippets that belong to 2 or 3.

Rules:
- Remove; do not rewrite. Keep the agent's own words, its tone, its order and its format.
- Leave out repetitions, digressions, and what is imagined about actions that are not executed.
- What is left reads as one train of thought and leads to the executed action, and to no other.
- Add nothing: no summary, no comment, nothing that the agent did not think.
{UNTRUSTED}
Answer with the shortened thinking in <think>…</think> tags and nothing else.
""".strip()

EXAMPLE_PROMPT: Final = "You tidy up folders through a shell. Think first, then write one command after `> `."
EXAMPLE_THOUGHT: Final = """
Okay, the listing shows that march.csv is now inside of reports, so the last move worked. Good.

Let me recall the task: all tables shall be in reports, and the folder drafts shall be gone.
Folders are a bit like drawers, and I always lose things in drawers.
Anyway.

What is left?
There is april.csv in drafts, and notes.txt in drafts as well.
I could remove drafts right away with rm -r drafts.
But that would delete april.csv too, and then the table would be lost.
Hmm, and notes.txt would be lost as well.
Is notes.txt a table? No, it is text. The task says nothing about it.
Let me think about that again: tables go to reports, notes.txt is no table.
Right, it says nothing.

Alternatively, I move april.csv first.
If I run mv drafts/april.csv reports/, april.csv will be in reports beside march.csv.
Then drafts will only hold notes.txt.

Wait, does reports exist? Yes, march.csv is in it, I saw it a moment ago.

I could also use cp and then rm, but that takes two commands for the same thing.
If I copied it, there would be two of april.csv for a while, and then I would have to remove one.

So moving april.csv is the next step: mv drafts/april.csv reports/
""".strip()
EXAMPLE_SEEN: Final = "reports:\nmarch.csv\n\ndrafts:\napril.csv\nnotes.txt"
EXAMPLE_ACTION: Final = "mv drafts/april.csv reports/"
EXAMPLE_SHORT: Final = """
Okay, the listing shows that march.csv is now inside of reports, so the last move worked.

I could remove drafts right away with rm -r drafts.
But that would delete april.csv too, and then the table would be lost.

Alternatively, I move april.csv first.
If I run mv drafts/april.csv reports/, april.csv will be in reports beside march.csv.
Then drafts will only hold notes.txt.

So moving april.csv is the next step: mv drafts/april.csv reports/
""".strip()


def question(system: str, seen: str, thought: str, action: str) -> HumanMessage:
    """Return what is asked about one turn; all of it is shown as data."""
    shown = {
        "system prompt": ("The agent's system prompt:", system or "unknown"),
        "observation": ("What it observed last:", seen),
        "response": ("Its full response:", f"<think>\n{thought}\n</think>\n> {action}"),
        "action": ("The executed action:", action),
    }
    return HumanMessage(
        "\n".join(f"{heading}\n{fence(name, text)}" for name, (heading, text) in shown.items())
    )


EXAMPLE: Final[tuple[BaseMessage, ...]] = (
    question(EXAMPLE_PROMPT, EXAMPLE_SEEN, EXAMPLE_THOUGHT, EXAMPLE_ACTION),
    AIMessage(f"<think>\n{EXAMPLE_SHORT}\n</think>"),
)
"""One turn and its shortened thinking."""


class ChatAbbreviator:
    """Shortens thinking by asking a chat model.

    Args:
        model: Any chat model.
        name: Name for the record; the model's own when empty.
        samples: How many answers are asked for per turn.
        concurrency: How many questions are open at a time.
        answers: What it has answered before; answers are added as they come.
    """

    removes_only = False

    def __init__(
        self,
        model: BaseChatModel,
        *,
        name: str = "",
        samples: int = 5,
        concurrency: int = 8,
        answers: Answers | None = None,
    ) -> None:
        self.model = model
        self.name = f"chat, {name or model.get_name()}"
        self.samples = samples
        self.concurrency = concurrency
        self.answers = answers or Answers()
        self._raised_in_a_row = 0
        self._last_error = ""

    @classmethod
    def from_settings(cls, settings: AbbreviateSettings, answers: Answers) -> ChatAbbreviator:
        """Make the abbreviator that settings name.

        Raises:
            TracesError: No model is named, or its samples would all be alike.
            DynaError: There is no such model.
        """
        from dyna_graph.models import resolve_model

        if settings.model is None:
            raise TracesError("the method chat needs a chat model: --model provider:model")
        options: dict[str, Any] = (
            {} if settings.temperature is None else {"temperature": settings.temperature}
        )
        model = resolve_model(settings.model, **options)
        if settings.samples > 1 and getattr(model, "temperature", None) == 0:
            raise TracesError(
                f"at temperature 0, {settings.samples} answers of {settings.model} are all alike; "
                "give --temperature, or --samples 1"
            )
        return cls(
            model,
            name=settings.model,
            samples=settings.samples,
            concurrency=settings.concurrency,
            answers=answers,
        )

    def abbreviate(self, turns: Sequence[Turn]) -> list[Abbreviation]:
        """Ask about turns, all at once; one abbreviation per turn, in their order.

        Raises:
            TracesError: The model has only raised for many turns in a row.
        """
        prompts = [self.prompt(turn) for turn in turns]
        identity = [self.name, getattr(self.model, "temperature", None)]
        keys = [
            [digest_of(identity, [m.content for m in prompt], sample) for sample in range(self.samples)]
            for prompt in prompts
        ]
        raised = self._ask({key: prompt for prompt, own in zip(prompts, keys, strict=True) for key in own})
        return [self._abbreviation(own, raised) for own in keys]

    def prompt(self, turn: Turn) -> list[BaseMessage]:
        """Return what the model is asked about a turn."""
        seen = turn.history[-1].observation if turn.history else turn.task
        asked = question(turn.system, seen, turn.thought, turn.action.text)
        return [SystemMessage(INSTRUCTION), *EXAMPLE, asked]

    def _ask(self, prompts: Mapping[str, list[BaseMessage]]) -> dict[str, str]:
        """Remember the answers to what has none yet; return why the others have none, by key."""
        left = [key for key in prompts if key not in self.answers.known]
        config = RunnableConfig(**aside("abbreviate"), max_concurrency=self.concurrency)
        problems: dict[str, str] = {}
        asked: list[Any] = [prompts[key] for key in left]
        for place, answer in self.model.batch_as_completed(asked, config, return_exceptions=True):
            if isinstance(answer, BaseException):
                problems[left[place]] = f"{RAISED} {type(answer).__name__}"
                self._last_error = f"{type(answer).__name__}: {answer}"
                continue
            try:
                answer_text(answer)
                self.answers.put(left[place], str(answer.text))
            except ValueError:
                problems[left[place]] = f"{OUT_OF_FORMAT}: cut off at the token limit"
        return problems

    def _abbreviation(self, keys: Sequence[str], problems: Mapping[str, str]) -> Abbreviation:
        candidates: list[str] = []
        rejected: Counter[str] = Counter()
        for key in keys:
            short, problem = ("", problems[key]) if key in problems else shortened(self.answers.known[key])
            if problem:
                rejected[problem] += 1
            else:
                candidates.append(short)
        only_raised = not candidates and all(problem.startswith(RAISED) for problem in rejected)
        self._raised_in_a_row = self._raised_in_a_row + 1 if only_raised else 0
        if self._raised_in_a_row >= TURNS_RAISED:
            raise TracesError(
                f"{self.name} raised at {TURNS_RAISED} turns in a row, the last time {self._last_error}\n"
                "what it has answered is kept; the same command goes on from there"
            )
        error = rejected.most_common(1)[0][0] if not candidates else ""
        return Abbreviation(tuple(dict.fromkeys(candidates)), error=error, rejected=rejected)


def shortened(answer: str) -> tuple[str, str]:
    """Return the thinking that an answer gives, or an empty text and what is wrong with it.

    A model that itself thinks aloud may write a think block of its own first; the answer is the last one.
    """
    found = last_thinking(answer)
    if found is None:
        return "", f"{OUT_OF_FORMAT}: no <think>…</think>"
    thinking, after = found
    if after and not after.startswith(">"):
        return "", f"{OUT_OF_FORMAT}: text after </think>"
    return (thought_text(thinking, ""), "") if thinking else ("", f"{OUT_OF_FORMAT}: nothing in the tags")
