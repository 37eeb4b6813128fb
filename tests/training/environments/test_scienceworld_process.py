"""ScienceWorld: the simulator's process, its death, and forked processes."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from dyna_training.environments import GameFileError
from dyna_training.environments.scienceworld import (
    GameSpec,
    ScienceWorldEnv,
    SimulatorDied,
    simulator,
)
from dyna_training.environments.scienceworld.play import Play, solution
from tests.training.environments.scienceworld_games import FIND, begun, needs_scienceworld
from tests.training.processes import alive, are_gone


@needs_scienceworld
def test_an_episode_goes_on_when_the_process_dies(caplog: pytest.LogCaptureFixture) -> None:
    env, same = begun(FIND), begun(FIND)
    path = solution(GameSpec.parse(FIND))
    for action in path[:3]:
        env.step(action)
        same.step(action)
    twin, wanted = env.fork(), same.hidden_state()
    process = simulator.simulator()
    os.kill(process.pid, signal.SIGKILL)
    assert are_gone([process.pid])
    assert env.hidden_state() == wanted
    assert "beginning anew and repeating 3 commands" in caplog.text
    assert simulator.simulator().pid != process.pid
    assert twin.step(path[3]) == env.step(path[3]) == same.step(path[3])


@needs_scienceworld
def test_a_process_that_dies_again_and_again_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    env = begun(FIND)
    exchange = simulator.Simulator._exchange

    def fatal(self: simulator.Simulator, *texts: str) -> str:
        if texts[0] == "step":
            os.kill(self.pid, signal.SIGKILL)
        return exchange(self, *texts)

    monkeypatch.setattr(simulator.Simulator, "_exchange", fatal)
    with pytest.raises(SimulatorDied, match=r"the simulator's process has ended \(signal 9"):
        env.step("look around")
    monkeypatch.undo()
    assert env.step("look around")[0].startswith("This")


@needs_scienceworld
def test_a_process_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    process = simulator.Simulator()
    process.request("close")
    monkeypatch.setattr(simulator, "TIMEOUT", 0.2)
    os.kill(process.pid, signal.SIGSTOP)
    while " T " not in Path(f"/proc/{process.pid}/stat").read_text():
        time.sleep(0.01)
    with pytest.raises(SimulatorDied, match="no answer in 0 s"):
        process.request("close")
    assert are_gone([process.pid])


@needs_scienceworld
def test_what_cannot_be_done_is_an_error_and_not_the_end() -> None:
    process = simulator.simulator()
    for request in (("load", "boil", "999999", ""), ("step", "0", "look"), ("dance",)):
        with pytest.raises(simulator.SimulatorError):
            process.request(*request)
    with pytest.raises(GameFileError, match="boil/999: the simulator cannot begin it"):
        Play(GameSpec("boil", 999)).task()
    assert process.alive


@needs_scienceworld
def test_nothing_is_left_when_a_process_is_killed() -> None:
    code = (
        "import sys; from dyna_training.environments.scienceworld.simulator import simulator\n"
        "simulator().request('close'); print(simulator().pid, flush=True); sys.stdin.read()"
    )
    for end in (lambda p: p.kill(), lambda p: p.stdin.close()):
        with subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            pid = int(process.stdout.readline())
            assert alive(pid)
            end(process)
            process.wait()
            assert are_gone([pid])


def _fork_plays(connection: Any, env: ScienceWorldEnv) -> None:
    connection.send((env.step("teleport to kitchen")[0], simulator.simulator().pid))


@needs_scienceworld
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_a_forked_process_has_a_simulator_of_its_own() -> None:
    env = begun(FIND)
    parent = simulator.simulator()
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    child = context.Process(target=_fork_plays, args=(theirs, env))
    child.start()
    assert ours.poll(60)
    seen, pid = ours.recv()
    child.join()
    assert are_gone([pid])
    assert pid != parent.pid
    assert parent.alive
    assert env.step("teleport to kitchen")[0] == seen


@needs_scienceworld
def test_simulations_are_closed_when_nobody_plays_them() -> None:
    env = begun(FIND)
    process = simulator.simulator()
    process.request("close")
    before = None
    for round_ in range(4):
        for _ in range(20):
            env.fork().step("look around")
        copy = pickle.loads(pickle.dumps(env))
        copy.step("look around")
        del copy
        left = int(
            process.request("close", *(process._closing.popleft() for _ in range(len(process._closing))))
        )
        if round_:
            assert left == before
        before = left
