"""Episodes out of files of chat messages, as `dyna_training.store.chat` writes them and other programs do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from dyna_nodes.codec import parse_action, parse_reply
from dyna_nodes.codec.messages import Message, read_system, remembered
from dyna_nodes.codec.outcome import parse_answer
from dyna_nodes.nouns import Action, Prediction, Provenance, Trajectory, Transition, digest_of
from dyna_nodes.scoring import solved
from dyna_training.store.chat import ChatFormat, Learner, Row
from dyna_training.store.folder import Form, RecordWriter, new_folder, write_manifest
from dyna_training.store.problems import StoreError
from dyna_training.traces.records import read_records

SUFFIXES: Final = (".json", ".jsonl")
_ABOUT: Final = ("manifest.json", "dataset_info.json")


class Conversation(NamedTuple):
    """An episode's messages before they are read.

    Attributes:
        row: The row that it is of, or the first of them.
        messages: All messages.
        rejected: What a world model had answered last instead; None where nobody says.
    """

    row: Row
    messages: list[Message]
    rejected: str | None = None


def import_chats(
    paths: Sequence[Path], out: Path, format: ChatFormat, learner: Learner, form: Form, command: str = ""
) -> dict[str, Any]:
    """Write the episodes of files of chat messages.

    What messages do not say stays unknown: labels, a reward of 0, and how an episode ended of which no end is written.

    Returns:
        The manifest; rows that are no episode are reported in it.

    Raises:
        StoreError: A path does not exist, there is no episode, or `out` cannot be written.
    """
    files, problems = _files(paths), list[str]()
    named: dict[str, str] = {}
    counts: Counter[str] = Counter()
    with new_folder(out) as folder:
        with RecordWriter(folder, form) as writer:
            for file in files:
                for conversation in _conversations(file, format, problems):
                    content = digest_of(conversation.messages, conversation.rejected)
                    id = str(conversation.row.get("id") or content[:32])
                    if named.get(id, content) != content:  # rows by step, which do not go on from each other
                        id = digest_of(id, content)[:32]
                    if id in named:
                        counts["rows read before"] += 1
                        continue
                    named[id] = content
                    try:
                        trajectory = episode_of(conversation, learner, id, origin=file.name)
                    except (ValueError, KeyError, TypeError) as error:
                        problems.append(f"{file}: {id}: {error}")
                        continue
                    writer.append(trajectory)
                    counts.update(episodes=1, steps=len(trajectory.transitions))
        if not writer.records:
            first = f": {problems[0]}" if problems else ""
            raise StoreError(
                f"no episode in {', '.join(map(str, files))}{first}; is --format {format} right?"
            )
        source = [{"file": str(file), "bytes": file.stat().st_size} for file in files]
        settings = {"format": format, "learner": learner}
        return write_manifest(
            folder,
            "import",
            command,
            source,
            problems,
            settings=settings,
            counts=dict(counts),
            digest=writer.digest,
        )


def _files(paths: Sequence[Path]) -> list[Path]:
    files: list[Path] = []
    for path in paths:
        files += _in_folder(path) if path.is_dir() else [path]
    missing = next((path for path in paths if not path.exists()), None)
    if missing is not None or not files:
        where = missing or ", ".join(map(str, paths))
        raise StoreError(f"{where}: there is no file of chat messages (*.json, *.jsonl)")
    return files


def _in_folder(folder: Path) -> list[Path]:
    """Return the files of a folder but those that say how to read others, and hidden ones: they are being written."""
    inside = (p for p in folder.rglob("*") if p.suffix in SUFFIXES and p.name not in _ABOUT)
    return sorted(p for p in inside if not any(part.startswith(".") for part in p.relative_to(folder).parts))


def _conversations(file: Path, format: ChatFormat, problems: list[str]) -> Iterator[Conversation]:
    try:
        found = read_records(file)
    except OSError as error:
        raise StoreError(f"{file} cannot be read: {error.strerror or error}") from error
    problems += [f"{r.file}: {r.reason}{f': {r.detail}' if r.detail else ''}" for r in found.reported]
    rows = []
    for number, row in found.records:
        try:
            rows.append(_messages(row, format))
        except (KeyError, TypeError, ValueError) as error:
            problems.append(f"{file}: row {number}: no {format}: {type(error).__name__}: {error}")
    yield from _joined(rows) if format == "trl-prompt-completion" else rows


def _messages(row: Any, format: ChatFormat) -> Conversation:
    if not isinstance(row, dict):
        raise TypeError(f"expected an object, found {type(row).__name__}")
    if format in ("word2world", "trl-sft"):
        return Conversation(row, _checked(row["messages"]))
    if format == "trl-prompt-completion":
        return Conversation(row, _checked([*row["prompt"], *row["completion"]]))
    rejected = _checked(row["rejected"])[-1]["content"]
    return Conversation(row, _checked([*row["prompt"], *row["chosen"]]), rejected)


def _checked(messages: Sequence[Any]) -> list[Message]:
    for found in messages:
        if not isinstance(found["role"], str) or not isinstance(found["content"], str):
            raise TypeError("a message's role and content are texts")
    return [{"role": m["role"], "content": m["content"]} for m in messages]


def _joined(rows: Iterable[Conversation]) -> Iterator[Conversation]:
    """Join rows that each go on where the one before ends: the steps of one episode."""
    current: Conversation | None = None
    for row in rows:
        if current is not None and _goes_on(row, current):
            further = row.messages[len(current.messages) :]
            current = current._replace(messages=[*current.messages, *further])
            continue
        if current is not None:
            yield current
        current = row
    if current is not None:
        yield current


def _goes_on(row: Conversation, before: Conversation) -> bool:
    """Whether a row goes on where another ends.

    Of two episodes with ids, one may begin as all of the other. Of a policy that does not remember its thinking, a
    later row has the ends of its responses only, and of a world model its answers without rewards.
    """
    id, messages = row.row.get("id"), row.messages
    if id != before.row.get("id") or len(messages) < len(before.messages):
        return False
    pairs = zip(messages, before.messages, strict=False)
    return all(m in (b, remembered(b)) or (id is not None and _ends(b, m)) for m, b in pairs)


def _ends(whole: Message, end: Message) -> bool:
    response = whole["role"] == end["role"] == "assistant"
    return response and bool(end["content"]) and whole["content"].endswith(end["content"])


def episode_of(conversation: Conversation, learner: Learner, id: str, origin: str = "") -> Trajectory:
    """Return the episode of a conversation.

    Args:
        conversation: The messages: system; then for a world model action and observation in turn, for a policy the
            task, and response and observation in turn.
        learner: Whose conversation it is.
        id: Id of the episode.
        origin: Where it is from, for the record.

    Raises:
        ValueError: The turns are no such conversation, or a response holds no one action that can be read.
    """
    row, messages = conversation.row, conversation.messages
    system, turns = (
        (messages[0], messages[1:]) if messages[:1] and messages[0]["role"] == "system" else (None, messages)
    )
    read = _of_policy if learner == "policy" else _of_world_model
    task, hidden, steps = read("" if system is None else system["content"], turns)
    if conversation.rejected is not None and learner == "world-model" and steps:
        said = parse_answer(conversation.rejected)
        prediction = Prediction(**said._asdict())
        steps[-1] = steps[-1].model_copy(update={"prediction": prediction})
    return Trajectory(
        id=id,
        task=task,
        hidden_state=hidden,
        transitions=tuple(
            step.model_copy(update={"id": f"{id}-{index}", "trajectory": id, "index": index, "time": 0.0})
            for index, step in enumerate(steps)
        ),
        outcome=_ended(steps),
        provenance=Provenance(
            source="collect",
            origin=origin,
            environment=str(row.get("environment") or ""),
            split=str(row.get("split") or ""),
            policy=str(row.get("policy") or ""),
        ),
    )


def _ended(steps: Sequence[Transition]) -> Literal["success", "failure", "unknown"]:
    if not steps or not steps[-1].done:
        return "unknown"
    return "success" if solved(steps[-1].reward, steps[-1].done) else "failure"


def _of_world_model(system: str, turns: Sequence[Message]) -> tuple[str, str | None, list[Transition]]:
    _alternate(turns, ("user", "assistant"))
    start = read_system(system)
    steps = []
    for action, answer in zip(turns[::2], turns[1::2], strict=True):
        found = parse_answer(answer["content"])
        steps.append(
            Transition(
                action=parse_action(action["content"]),
                observation=found.observation,
                reward=found.reward,
                done=found.done,
            )
        )
    return start.task, start.hidden_state, steps


def _of_policy(system: str, turns: Sequence[Message]) -> tuple[str, str | None, list[Transition]]:
    task, turns = (turns[0]["content"], turns[1:]) if turns and turns[0]["role"] == "user" else ("", turns)
    last_is_open = len(turns) % 2 == 1
    _alternate(turns[:-1] if last_is_open else turns, ("assistant", "user"))
    observations: list[str | None] = [turn["content"] for turn in turns[1::2]]
    steps = []
    for response, observation in zip(turns[::2], [*observations, None], strict=False):
        reply = parse_reply(response["content"], "text")
        if len(reply.calls) != 1 or reply.invalid:
            raise ValueError(
                f"expected one action in {response['content'][-80:]!r}, found {len(reply.calls)}"
            )
        call = reply.calls[0]
        known = {"observation": observation} if observation is not None else {"status": "unknown"}
        action = Action(tool=call["name"], arguments=call["args"])
        steps.append(Transition.model_validate({"thought": reply.thought, "action": action, **known}))
    return task, None, steps


def _alternate(turns: Sequence[Message], roles: tuple[str, str]) -> None:
    found = [turn["role"] for turn in turns]
    if len(found) % 2 or found != list(roles) * (len(found) // 2):
        place = next((i for i, role in enumerate(found) if role != roles[i % 2]), len(found))
        raise ValueError(
            f"expected {roles[0]} and {roles[1]} in turn after the beginning; turn {place} breaks that"
        )
