"""Writes what is new in a database of checkpoints to an experience log; again and again, if need be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from itertools import groupby
from typing import NamedTuple

from dyna_graph.harvest.calls import GIVEN, Executed, Keys, Skipped, calls_of
from dyna_graph.harvest.databases import CheckpointDatabase
from dyna_graph.harvest.threads import EDITS, follow
from dyna_nodes.experience import ExperienceLog
from dyna_nodes.nouns import Noun, Provenance, Transition, digest_of
from dyna_nodes.observe import labels_of

Redact = Callable[[Transition], Transition | None]
BRANCH = "on another branch of time travel"
REDACTED = "left out by the redaction hook"


class LeftOut(Noun):
    """Something that is no transition.

    Attributes:
        thread: LangGraph thread id.
        namespace: Its namespace; empty for the graph itself.
        reason: Why.
        tool: The tool, for a call.
        call: Id of the call, or of the checkpoint.
    """

    thread: str
    namespace: str
    reason: str
    tool: str = ""
    call: str = ""


class Harvest(Noun):
    """What a harvest found.

    Attributes:
        source: The database.
        threads: Threads that were read.
        namespaces: Threads with namespaces of sub-graphs counted apart.
        checkpoints: Checkpoints that could be read.
        branches: Branches of time travel beside the first of each thread.
        calls: Calls that were found, each once.
        new: Transitions that were written.
        known: Executed calls that the log already held.
        tools: New transitions by tool.
        reasons: Calls that are no transitions, by reason.
        left_out: Each of them, and whatever could not be read.
        unreadable: Checkpoints and threads that could not be read.
    """

    source: str
    threads: int
    namespaces: int
    checkpoints: int
    branches: int
    calls: int
    new: int
    known: int
    tools: Mapping[str, int]
    reasons: Mapping[str, int]
    left_out: tuple[LeftOut, ...]
    unreadable: tuple[LeftOut, ...]


def harvest(
    database: CheckpointDatabase,
    log: ExperienceLog,
    *,
    channel: str = "messages",
    threads: Sequence[str] | None = None,
    branches: bool = False,
    redact: Redact | None = None,
    dry_run: bool = False,
) -> Harvest:
    """Write every executed call that the log does not hold yet.

    Ids are made of the ids of the messages, so that a second harvest adds nothing and one that was interrupted goes
    on. A call that the loop itself has recorded in this log is recognised by thread, history and action.

    Args:
        database: Where the checkpoints lie.
        log: Where the transitions go.
        channel: The channel of the state that holds the messages.
        threads: Only these threads; all when None.
        branches: Also write the branches that time travel made, each as a trajectory of its own that repeats the
            beginning it shares. Otherwise only the oldest line of each thread is written.
        redact: Called with every transition before it is written; returns what may be written, or None.
        dry_run: Only say what would be written.
    """
    run = _Run(database, log, redact, dry_run)
    chosen = [(t, n) for t, n in database.threads() if threads is None or t in threads]
    for thread, places in groupby(chosen, key=lambda place: place[0]):
        lines: list[_Line] = []
        for _, namespace in places:
            followed = follow(database.rows(thread, namespace, (channel, EDITS)), channel)
            run.checkpoints += followed.checkpoints
            run.branches += max(0, len(followed.branches) - 1)
            problems = list(followed.problems)
            if followed.checkpoints and not (followed.branches or problems or namespace):
                problems.append(("", f"no messages in the channel {channel!r}; name another with --channel"))
            run.unreadable += [
                LeftOut(thread=thread, namespace=namespace, reason=why, call=id) for id, why in problems
            ]
            found = [
                _Line(thread, namespace, branch[0].key, list(calls_of(branch)))
                for branch in followed.branches
            ]
            main = run.main_of(found)
            lines += [main, *(line for line in found if line is not main)] if main is not None else []
        refused = _refused(lines)
        seen: set[str] = set()
        for line in lines:
            run.add(line, refused, main=line.namespace not in seen, whole=branches)
            seen.add(line.namespace)
    return run.result(chosen)


class _Line(NamedTuple):
    """A branch of a thread: where it is, the key of its first message, and its calls."""

    thread: str
    namespace: str
    beginning: str
    calls: Sequence[Executed | Skipped]

    @property
    def trajectory(self) -> str:
        """The trajectory of the main line."""
        return digest_of("harvest", self.thread, self.namespace, self.beginning)[:32]

    def id_of(self, call: Executed, trajectory: str = "") -> str:
        """Return the id of a transition; with the trajectory where it repeats another one."""
        return digest_of("harvest", self.thread, call.keys, trajectory)[:32]


def _refused(lines: Sequence[_Line]) -> dict[Keys, str]:
    """Return the calls that some namespace knows not to have been executed.

    The graph around a sub-graph sees its answers, and not which node gave them.
    """
    return {
        call.keys: call.reason
        for line in lines
        for call in line.calls
        if isinstance(call, Skipped) and call.keys[1] and call.reason != GIVEN
    }


class _Run:
    def __init__(
        self, database: CheckpointDatabase, log: ExperienceLog, redact: Redact | None, dry_run: bool
    ) -> None:
        self.database = database
        self.log = log
        self.redact = redact
        self.dry_run = dry_run
        self.held: dict[str, str] = {}
        self.lived: set[tuple[str, str, str]] = set()
        for transition in log.read():
            self.held[transition.id] = transition.trajectory
            if not transition.provenance.origin and transition.provenance.source != "imagination":
                self.lived.add(_key(transition))
        self.checkpoints = self.branches = self.new = self.known = 0
        self.tools: Counter[str] = Counter()
        self.calls: set[Keys] = set()
        self.left_out: list[LeftOut] = []
        self.unreadable: list[LeftOut] = []

    def main_of(self, lines: Sequence[_Line]) -> _Line | None:
        """Return the line that goes on with the thread's trajectory: the one that has begun it, else the oldest."""

        def written(line: _Line) -> int:
            calls = (c for c in line.calls if isinstance(c, Executed))
            return sum(self.held.get(line.id_of(c)) == line.trajectory for c in calls)

        return max(lines, key=written, default=None)

    def add(self, line: _Line, refused: Mapping[Keys, str], *, main: bool, whole: bool) -> None:
        """Take in one line."""
        own = next((c.keys for c in line.calls if c.keys not in self.calls), None)
        if own is None:  # everything in it belongs to another branch, or to the graph around this one
            return
        trajectory = line.trajectory if main else digest_of("harvest", line.trajectory, own)[:32]
        index = 0
        for call in line.calls:
            first = call.keys not in self.calls
            if isinstance(call, Skipped) or call.keys in refused:
                reason = call.reason if isinstance(call, Skipped) else refused[call.keys]
                self._leave(line, call, reason)
            elif main and not first:  # a sub-graph that shares the messages of the graph around it
                continue
            elif main or whole:
                self.calls.add(call.keys)
                self._write(line, call, trajectory, index, repeated=not first)
                index += 1
            else:
                self._leave(line, call, BRANCH)

    def _leave(self, line: _Line, call: Executed | Skipped, reason: str) -> None:
        if call.keys in self.calls:
            return
        self.calls.add(call.keys)
        tool = call.tool if isinstance(call, Skipped) else call.action.tool
        self.left_out.append(
            LeftOut(thread=line.thread, namespace=line.namespace, reason=reason, tool=tool, call=call.keys[2])
        )

    def _write(self, line: _Line, call: Executed, trajectory: str, index: int, *, repeated: bool) -> None:
        id = line.id_of(call, trajectory if repeated else "")
        origin = f"{self.database.name}|{line.namespace}" if line.namespace else self.database.name
        transition = Transition(
            id=id,
            trajectory=trajectory,
            index=index,
            task=call.task,
            history=call.history,
            thought=call.thought,
            action=call.action,
            observation=call.observation,
            reward=call.reward,
            done=call.done,
            labels=labels_of(call.answer.message),
            status="error" if call.failed else "ok",
            time=call.answer.time,
            provenance=Provenance(
                policy=call.policy,
                thread=line.thread,
                origin=origin,
                versions={"dyna-graph": _version(), "checkpoint": call.answer.version},
            ),
        )
        if id in self.held or (not repeated and _key(transition) in self.lived):
            self.known += 1
            return
        written = transition if self.redact is None else self.redact(transition)
        if written is None:
            self.calls.discard(call.keys)
            self._leave(line, call, REDACTED)
            return
        if not self.dry_run:
            # The id says that it was harvested, so it stays whatever the hook makes of the rest.
            self.log.append(written.model_copy(update={"id": id}))
        self.held[id] = trajectory
        self.new += 1
        self.tools[written.action.tool] += 1

    def result(self, chosen: Sequence[tuple[str, str]]) -> Harvest:
        return Harvest(
            source=self.database.name,
            threads=len({thread for thread, _ in chosen}),
            namespaces=len(chosen),
            checkpoints=self.checkpoints,
            branches=self.branches,
            calls=len(self.calls),
            new=self.new,
            known=self.known,
            tools=dict(self.tools.most_common()),
            reasons=dict(Counter(line.reason for line in self.left_out).most_common()),
            left_out=tuple(self.left_out),
            unreadable=tuple(self.unreadable),
        )


def _key(transition: Transition) -> tuple[str, str, str]:
    """Return what a harvested call has in common with the record that the loop made of it."""
    return transition.provenance.thread, transition.history, transition.action.digest


def _version() -> str:
    try:
        return version("dyna-graph")
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "unknown"
