"""Kill an agent again and again at random moments, and check that nothing is lost and nothing is repeated silently.

    python -m tests.graph.kills --kills 1000 --seed 0

Each run is one task of four effects. Its process is killed with SIGKILL after a random part of the time that an
undisturbed run takes; another one goes on; and so forth, until five have been killed and one may finish. Whenever the
agent asks a human about a call whose end it does not know, the answer is to run it again; that counts as flagged. In
the end

* no effect has happened more often than once plus the times that a human was asked about it (*unflagged*), and
* every effect has a transition in the experience log, and every call an answer in the conversation (*lost*).

Both doors are killed, in sync and in async code, with checkpoints and journal in SQLite or, with ``--postgres``, in a
Postgres server that is started for it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from langgraph.types import Command

from dyna_nodes.experience import ExperienceLog
from tests.graph.crashing import lines
from tests.postgres import new_database, running

sys.path.insert(0, str(Path(__file__).parent))

TASK = "a b c d"
PER_RUN = 5
MOST = 60
"""Processes after which a run counts as one that never ends."""


class Found(NamedTuple):
    """What came of a run."""

    kills: int
    unflagged: list[str]
    lost: list[str]
    asked: int


def go_on(folder: Path, door: str, how: str, after: float | None) -> None:
    """Begin or go on with the task, approve whatever is asked, and die after some seconds."""
    import crashing

    began = time.perf_counter()
    if after is not None:
        signal.signal(signal.SIGALRM, lambda *_: crashing.die())
        signal.setitimer(signal.ITIMER_REAL, max(after, 1e-4))
    with crashing.saver_in(folder) as saver:
        agent = crashing.make_agent(folder, "slowly", saver, door)
        snapshot = agent.get_state(crashing.CONFIG)
    pauses = [i for task in snapshot.tasks for i in task.interrupts]
    answers: dict[str, Any] = {}
    for pause in pauses:
        requests = pause.value["action_requests"]
        for request in requests:
            crashing.note(folder, "asked", str(request["args"].get("word")))
        answers[pause.id] = {"decisions": [{"type": "approve"}] * len(requests)}
    given = Command(resume=answers) if answers else None if snapshot.values else crashing.given(TASK)
    result = crashing.play(folder, door, how, given, "slowly")
    said = [m.content for m in result["messages"] if m.type == "tool"]
    took = time.perf_counter() - began
    (folder / "result").write_text(json.dumps({"said": said, "seconds": took}))


def killed(folder: Path, server: Any, door: str, how: str, seconds: float, rng: random.Random) -> Found:
    """Kill one run `PER_RUN` times, let it end, and look at what it left."""
    kills = 0
    for _ in range(MOST):
        after = rng.uniform(0, seconds) if kills < PER_RUN else None
        (folder / "result").unlink(missing_ok=True)
        child = server.Process(target=go_on, args=(folder, door, how, after))
        child.start()
        child.join(120)
        if child.exitcode == -signal.SIGKILL:
            kills += 1
        elif child.exitcode != 0:
            raise SystemExit(f"{folder}: the process ended with {child.exitcode}")
        elif (folder / "result").exists() and not waiting(folder, door):
            break
    else:
        raise SystemExit(f"{folder}: the run never ends")
    effects = Counter(lines(folder, "effects"))
    asked = Counter(lines(folder, "asked"))
    said = json.loads((folder / "result").read_text())["said"]
    known = Counter(str(t.action.arguments["word"]) for t in ExperienceLog(folder / "experience").read())
    words = TASK.split()
    return Found(
        kills,
        [w for w in words if effects[w] > 1 + asked[w]],
        [w for w in words if not known[w] or not effects[w] or f"wrote {w}" not in said],
        sum(asked.values()),
    )


def waiting(folder: Path, door: str) -> bool:
    """Tell whether the run waits for a human."""
    import crashing

    with crashing.saver_in(folder) as saver:
        return bool(crashing.make_agent(folder, "never", saver, door).get_state(crashing.CONFIG).next)


@contextmanager
def new_folder(postgres: str | None) -> Iterator[Path]:
    """Yield an empty folder for a run, whose checkpoints lie in it or in a database of their own."""
    import crashing

    with tempfile.TemporaryDirectory() as name:
        if postgres is not None:
            crashing.use_postgres(Path(name), new_database(postgres))
        yield Path(name)


def undisturbed(server: Any, door: str, how: str, postgres: str | None) -> float:
    """Return the seconds that a run takes, from the moment at which it could be killed."""
    with new_folder(postgres) as name:
        child = server.Process(target=go_on, args=(name, door, how, None))
        child.start()
        child.join()
        return float(json.loads((name / "result").read_text())["seconds"])


def main() -> int:
    """Kill, and say what was found; 1 when anything was lost or repeated unflagged."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=1000, help="how many processes to kill (default: 1000)")
    parser.add_argument("--seed", type=int, default=0, help="draws the moments (default: 0)")
    parser.add_argument("--postgres", action="store_true", help="keep checkpoints and journal in Postgres")
    options = parser.parse_args()
    with running() if options.postgres else nullcontext() as postgres:
        return kill_all(options.kills, options.seed, postgres)


def kill_all(kills: int, seed: int, postgres: str | None) -> int:
    """Kill so many processes; return 1 when anything was lost or repeated unflagged."""
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["crashing", "langgraph.checkpoint.sqlite.aio", "dyna_graph.middleware"])
    rng = random.Random(seed)
    doors = [(door, how) for door in ("graph", "middleware") for how in ("sync", "async")]
    seconds = {place: min(undisturbed(server, *place, postgres) for _ in range(2)) for place in doors}
    total: Counter[str] = Counter()
    while total["kills"] < kills:
        door, how = doors[total["runs"] % len(doors)]
        with new_folder(postgres) as name:
            found = killed(name, server, door, how, seconds[door, how], rng)
        total.update(
            runs=1, kills=found.kills, asked=found.asked, unflagged=len(found.unflagged), lost=len(found.lost)
        )
        if found.unflagged or found.lost:
            print(f"{door}, {how}: unflagged {found.unflagged}, lost {found.lost}", flush=True)
        if total["runs"] % 20 == 0:
            print(f"{total['kills']} of {kills} kills", flush=True)
    print(
        f"{total['kills']} kills in {total['runs']} runs: {total['lost']} lost transitions, {total['unflagged']} "
        f"unflagged double executions; a human was asked {total['asked']} times"
    )
    return int(bool(total["lost"] or total["unflagged"]))


if __name__ == "__main__":
    raise SystemExit(main())
