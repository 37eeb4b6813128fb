"""The objectives of DDT's first stage: a policy learns, in its own conversation, what its actions do.

Dyna-Think (arXiv 2506.00320, section 3) trains the policy itself as a world model, on one of three targets:

* ``next_state``: after the response it is asked what it will observe. The answer is the next observation, with reward,
  success and end as `dyna_nodes.codec.outcome` writes them and, where labelled, the return-to-go after it, as
  `dyna_nodes.codec.world_model` does.
* ``difference``: after the response it is asked what the action will change.
* ``critique``: inside the response, after the line that the critique is about, stands the critique. Loss on the
  critique and the newline that ends it, on nothing else.

Each is a branch on the policy's conversation: it sees what the policy had seen and written at that point, and
neither the observation that followed nor any other branch.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, Literal, NamedTuple

from dyna_nodes.codec.chat import ChatCodec
from dyna_nodes.codec.outcome import Outcome
from dyna_nodes.codec.policy import POLICY_PROMPT, begin, response_text, thought_text
from dyna_nodes.codec.row import Example, Row, Segment, common, read, write
from dyna_nodes.codec.world_model import WorldModelCodec
from dyna_nodes.nouns import Trajectory, Transition
from dyna_nodes.settings import Memory

Objective = Literal["next_state", "difference", "critique"]

OBJECTIVES: Final[tuple[Objective, ...]] = ("critique", "next_state", "difference")
"""All objectives, in the order in which the branches of one turn stand in a row."""
NEXT_STATE_QUESTION: Final = "What will you observe next?"
"""Asked after a response; the answer is the next observation."""
DIFFERENCE_QUESTION: Final = "What will this action change?"
"""Asked after a response; the answer is what the action changes, and that alone."""


class Critique(NamedTuple):
    """A critique as tokens.

    Attributes:
        before: The response up to the critique; read.
        critique: The critique and the newline that ends it; the target.
    """

    before: list[int]
    critique: list[int]


def why_not(transition: Transition, objective: Objective) -> str:
    """Return why an objective cannot be learned from a step; empty when it can."""
    if objective == "next_state":
        return "nobody knows what it led to" if transition.status == "unknown" else ""
    if objective == "difference":
        return "" if transition.notes.get("difference", "").strip() else "its difference was not noted"
    if not transition.notes.get("critique", "").strip():
        return "its critique was not noted"
    if _end_of(transition.notes.get("critique_after", ""), thought_text(transition)) is None:
        return "the line that its critique follows is not in its thinking"
    return ""


def planned(objectives: Mapping[Objective, Collection[int]]) -> list[tuple[int, Objective]]:
    """Return turn and objective of each branch of `objective_example`; the first one is branch 1."""
    return [
        (turn, objective)
        for turn in sorted({turn for turns in objectives.values() for turn in turns})
        for objective in OBJECTIVES
        if turn in objectives.get(objective, ())
    ]


def objective_example(
    chat: ChatCodec,
    trajectory: Trajectory,
    prompt: str = POLICY_PROMPT,
    objectives: Mapping[Objective, Collection[int]] | None = None,
    *,
    memory: Memory = "thoughts",
) -> Example:
    """Encode a policy's trajectory for DDT's first stage; only branches have targets.

    Args:
        chat: The chat codec of the model's tokenizer.
        trajectory: What happened; observations, and the notes that annotators wrote.
        prompt: The policy's system prompt.
        objectives: For each objective, the indices of the turns that it is learned from; None is every turn that
            it can be learned from.
        memory: What a turn sees of the turns before it; the policy's.

    Returns:
        One example that ends with the last turn something is learned from. `planned` says what its branches are.

    Raises:
        ValueError: An objective cannot be learned from one of the turns.
    """
    steps = trajectory.transitions
    if objectives is None:
        objectives = {o: [i for i, t in enumerate(steps) if not why_not(t, o)] for o in OBJECTIVES}
    for index, objective in (plan := planned(objectives)):
        if problem := why_not(steps[index], objective):
            raise ValueError(f"trajectory {trajectory.id}, turn {index}: no {objective}: {problem}")
    world = WorldModelCodec(chat)
    row = begin(chat, trajectory, prompt)
    last = plan[-1][0] if plan else -1
    for index, transition in enumerate(steps[: last + 1]):
        learned = [objective for turn, objective in plan if turn == index]
        questions = [
            _question(world, transition, objective) for objective in learned if objective != "critique"
        ]
        whole, kept = response_text(transition), response_text(transition)
        if memory == "actions":
            kept = response_text(transition, "none")
        if kept == whole:
            _read_response(chat, row, transition, with_critique="critique" in learned)
            before: list[int] = []
        else:
            if "critique" in learned:
                critique = critique_of(chat, transition)
                row.hang(read([*chat.opening("assistant"), *critique.before]), write(critique.critique))
            before = chat.turn("assistant", whole)
        for question in questions:
            row.hang(read(before), *question)
        if index != last:
            if kept != whole:
                row.read(chat.turn("assistant", kept))
            row.read(chat.turn("user", transition.observation))
    return row.example()


def critique_of(chat: ChatCodec, transition: Transition) -> Critique:
    """Return the critique that was noted of a step, and the response before it.

    Raises:
        ValueError: There is none, or it has no place.
    """
    thought = thought_text(transition)
    end = _end_of(transition.notes.get("critique_after", ""), thought)
    if end is None:
        raise ValueError(f"step {transition.id}: {why_not(transition, 'critique')}")
    before = chat.text(f"{thought[:end]}\n")
    ids = chat.text(f"{thought[:end]}\n{' '.join(transition.notes['critique'].split())}\n")
    # A tokenizer may join the newline with what follows it; then the token that is both is a target.
    place = common(before, ids)
    return Critique(ids[:place], ids[place:])


def _read_response(chat: ChatCodec, row: Row, transition: Transition, *, with_critique: bool) -> None:
    """Read a response whole; its critique hangs where it would stand."""
    row.read(chat.opening("assistant"))
    ids = chat.text(response_text(transition))
    place = 0
    if with_critique:
        critique = critique_of(chat, transition)
        # A branch begins with a token that it reads: the last one before the critique stands in it once more.
        place = min(common(ids, critique.before), len(critique.before) - 1)
        row.read(ids[:place])
        row.hang(read(critique.before[place:]), write(critique.critique))
    row.read([*ids[place:], *chat.closing()])


def _question(world: WorldModelCodec, transition: Transition, objective: Objective) -> tuple[Segment, ...]:
    chat = world.chat
    asked = NEXT_STATE_QUESTION if objective == "next_state" else DIFFERENCE_QUESTION
    question = read([*chat.turn("user", asked), *chat.opening("assistant")])
    if objective == "difference":
        return question, write([*chat.text(transition.notes["difference"].strip()), chat.end_id])
    answer = world.answer(Outcome.of(transition))
    if "return_to_go" in transition.labels:
        return question, *world.answer_and_return(answer, transition.labels["return_to_go"])
    return question, write(answer)


def _end_of(after: str, thought: str) -> int | None:
    """Return where the last line ``after`` of a thinking ends, in characters.

    Thinking that is not written line by line has the sentence inside of a line.
    """
    after = "\n".join(after.strip().splitlines())
    if not after:
        return None
    place = f"\n{thought}\n".rfind(f"\n{after}\n")
    if place < 0:
        place = thought.rfind(after)
    return None if place < 0 else place + len(after)
