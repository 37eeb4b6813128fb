"""ScienceWorld: names and splits, the simulator's process and its death, forks, rewards, what the package says."""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import pickle
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from dyna_training.environments import GameFileError
from dyna_training.environments.catalogue import SCIENCEWORLD, catalogue
from dyna_training.environments.scienceworld import (
    HELD_OUT,
    SPLITS,
    TASKS,
    GameNameError,
    GameSpec,
    ScienceWorldEnv,
    ScienceWorldMissing,
    SimulatorDied,
    games,
    simulator,
    variations,
)
from dyna_training.environments.scienceworld.catalogue import ScienceWorldGames
from dyna_training.environments.scienceworld.hidden import hidden_state
from dyna_training.environments.scienceworld.play import Play, solution
from dyna_training.environments.scienceworld.text import LONGEST_ANSWER, NOT_UNDERSTOOD, clean, command
from tests.training.environments.scienceworld_games import SHORT, needs_scienceworld

FIND = SHORT[-1]
POWER = "power-component/2"


def begun(game: str = FIND, **options: Any) -> ScienceWorldEnv:
    env = ScienceWorldEnv(games=[game], admissible_actions=False, **options)
    env.reset(seed=0)
    return env


# Names and splits


@pytest.mark.parametrize("name", ["boil/17", "boil/none/0", "melt/teleportAction,openDoors/3"])
def test_a_name_says_everything(name: str) -> None:
    assert str(GameSpec.parse(name)) == name


def test_simplifications_have_one_order_and_a_default() -> None:
    assert str(GameSpec.parse("melt/openDoors,teleportAction/3")) == "melt/teleportAction,openDoors/3"
    assert str(GameSpec.parse("melt/easy/3")) == "melt/3"
    assert str(GameSpec.parse("melt/3", "none")) == "melt/none/3"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("boill/3", "did you mean 'boil'"),
        ("boil/30", "variations from 0 to 29, and no 30"),
        ("boil/-1", "expected task/variation"),
        ("boil", "expected task/variation"),
        ("boil/openDoor/3", "did you mean 'openDoors'"),
        ("test-conductivity/noElectricalAction/3", "cannot be done without electrical actions"),
        ("", "expected task/variation"),
    ],
)
def test_a_wrong_name_is_explained(name: str, message: str) -> None:
    with pytest.raises(GameNameError, match=message):
        ScienceWorldEnv(games=[name])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "train", "games": ["boil/0"]}, "not both"),
        ({"reward": "money"}, "'success' or 'score'"),
        ({"max_steps": 0}, "at least 1"),
        ({"simplifications": "hard"}, "unknown simplification 'hard'"),
        ({"split": "valid"}, "unknown split 'valid'"),
    ],
)
def test_a_wrong_argument_is_explained(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ScienceWorldEnv(**arguments)


def test_no_game_is_in_two_splits_and_held_out_tasks_are_in_no_other() -> None:
    seen: set[GameSpec] = set()
    for split in SPLITS:
        found = games(split)
        assert len(set(found)) == len(found)
        assert seen.isdisjoint(found)
        seen |= set(found)
        assert {game.task in HELD_OUT for game in found} == {split == "unseen_task"}
    assert {game.task for game in seen} == set(TASKS)
    assert len(TASKS) == 30
    assert sum(len(variations(t, p)) for t in TASKS for p in ("train", "dev", "test")) == 7207  # type: ignore[arg-type]


def test_tasks_take_turns() -> None:
    drawn = ScienceWorldGames().shuffled(games("train"), random.Random(1))
    assert drawn != games("train")
    assert set(drawn) == set(games("train"))
    for order in (games("train"), drawn):
        assert len({game.task for game in order[:22]}) == 22


def test_a_split_draws_tasks_and_not_only_what_has_most_variations() -> None:
    env = ScienceWorldEnv(split="train")
    assert sorted(env._games) == sorted(set(TASKS) - set(HELD_OUT))


# Text


def test_text_is_plain_ascii() -> None:
    assert clean("a caf\u00e9 at 20\u00b0C  \n\tbook\x07\n") == "a cafe at 20C\n\tbook"
    assert len(clean("x" * 100_000)) == LONGEST_ANSWER


def test_a_command_is_one_plain_line() -> None:
    assert command("  look\naround ") == ("look around", "")
    assert command(" \n") == ("", NOT_UNDERSTOOD)
    assert command("x" * 100_000)[1].startswith("That command is too long")
    assert command("eat caf\u00e9\0")[0] == "eat caf??"


# What is missing


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ScienceWorldMissing, match=re.escape("pip install 'dyna-graph[scienceworld]'")):
        simulator.jar()


def test_missing_java_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(ScienceWorldMissing, match=r"there is none here: install Java 17 .*openjdk-17-jre"):
        simulator.Simulator()


def old_java(folder: Path, said: str) -> None:
    """Make a ``java`` that says why it does not run the program."""
    (folder / "bin").mkdir()
    (folder / "bin" / "java").write_text(f"#!/bin/sh\necho '{said}' >&2\nexit 1\n")
    (folder / "bin" / "java").chmod(0o755)


@pytest.mark.parametrize(
    ("said", "error", "message"),
    [
        (
            "java.lang.UnsupportedClassVersionError: dyna/Simulations",
            ScienceWorldMissing,
            "needs Java 17 or newer",
        ),
        ("Error: out of luck", SimulatorDied, r"exit code 1; it said: Error: out of luck"),
    ],
)
def test_a_java_that_does_not_do_is_explained(
    said: str, error: type[Exception], message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    old_java(tmp_path, said)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    if importlib.util.find_spec("scienceworld") is None:
        pytest.skip("needs pip install 'dyna-graph[scienceworld]'")
    with pytest.raises(error, match=message):
        simulator.Simulator().request("load", "boil", "0", "")


@pytest.mark.skipif(
    shutil.which("javac") is None, reason="needs javac (Debian: apt-get install default-jdk-headless)"
)
def test_the_compiled_program_is_what_its_sources_say(tmp_path: Path) -> None:
    """Compilers of another version may write other bytes; then a difference is looked for in what is declared."""
    source = simulator.PROGRAM / "dyna"
    said = subprocess.run(["javac", "-version"], capture_output=True, text=True, check=True)
    if not said.stdout.startswith("javac 17"):
        pytest.skip(f"needs javac 17, by which it was compiled; this is {said.stdout.strip()}")
    options = ["-XDignore.symbol.file", "--release", "17", "-g:none", "-d", str(tmp_path)]
    subprocess.run(["javac", *options, *map(str, source.glob("*.java"))], check=True)
    compiled = {file.name: file.read_bytes() for file in (tmp_path / "dyna").glob("*.class")}
    assert compiled == {file.name: file.read_bytes() for file in source.glob("*.class")}


# Playing


@needs_scienceworld
def test_points_sum_up_to_one_and_success_is_the_last_of_them() -> None:
    for reward, wanted in (("score", 1.0), ("success", 1.0)):
        env = begun(FIND, reward=reward)
        rewards = [env.step(action)[1] for action in solution(GameSpec.parse(FIND))]
        assert sum(rewards) == pytest.approx(wanted)
        assert rewards[-1] > 0
        assert env.play.won
        assert env.step("look around")[:3] == ("The task has ended.", 0.0, True)
    assert sum(r > 0 for r in rewards) == 1


@needs_scienceworld
def test_points_that_were_taken_back_are_not_gained_twice() -> None:
    env = begun(FIND)
    path = solution(GameSpec.parse(FIND))
    first = [env.step(action)[1] for action in path[:-1]]
    assert sum(first) > 0
    assert env.step("reset task")[1] == 0
    assert env.play.score < 100 * sum(first)
    again = [env.step(action)[1] for action in path[:-1]]
    assert sum(again) == 0
    assert sum(first) + env.step(path[-1])[1] == pytest.approx(1.0)


@needs_scienceworld
def test_a_failed_task_earns_nothing_and_ends() -> None:
    env = begun("boil/0")
    _, reward, terminated, truncated, info = env.step("focus on picture")
    assert (reward, terminated, truncated, info["lost"], info["won"]) == (0.0, True, False, True, False)
    assert info["score"] == -100
    assert env.admissible() == []


@needs_scienceworld
def test_an_episode_is_cut_off() -> None:
    env = begun(FIND, max_steps=2)
    assert env.step("look around")[2:4] == (False, False)
    assert env.step("dance")[2:4] == (False, True)


@needs_scienceworld
def test_a_question_of_what_was_meant_is_part_of_the_state() -> None:
    env = begun(FIND)
    env.step("teleport to kitchen")
    asked = env.step("open door")[0]
    assert asked.startswith("Ambiguous request")
    assert env.admissible()[:2] == ["0", "1"]
    twin = env.fork()
    assert env.step("dance")[0] != asked
    assert len(env.admissible()) > 50
    assert twin.admissible()[:2] == ["0", "1"]
    assert "already open" in twin.step("0")[0]


@needs_scienceworld
def test_listing_what_can_be_done_changes_nothing() -> None:
    """The simulator draws random numbers to name things; without care, who asks gets another future."""
    quiet, asking = begun("find-animal/4"), begun("find-animal/4")
    for action in ("teleport to greenhouse", "open bee hive", "wait", "look around", "wait", "look around"):
        for _ in range(2):
            asking.play._admissible = None
            asking.admissible()
        assert asking.step(action) == quiet.step(action)
    assert asking.admissible() == quiet.admissible()
    assert asking.hidden_state() == quiet.hidden_state()


@needs_scienceworld
def test_what_is_out_of_reach_is_not_listed() -> None:
    """The simulator lists commands about the sewer behind a drain, and knows none of them."""
    env = begun(POWER)
    env.step("teleport to kitchen")
    listed = env.play._question("valid")
    assert " sewer" in listed
    assert not [c for c in env.admissible() if "sewer" in c]


@needs_scienceworld
def test_the_hidden_state_says_where_things_are_and_what_is_wanted() -> None:
    env = begun(FIND)
    env.step("teleport to kitchen")
    env.step("open cupboard")
    state = env.hidden_state()
    assert state.startswith("at: kitchen\ngoal: ")
    assert re.search(r"^kitchen: .*fridge \(closed, on\)", state, re.MULTILINE)
    assert re.search(r"cupboard \(open\) \[", state)
    assert re.search(r"^inventory: ", state, re.MULTILINE)
    assert hidden_state(env.play) == state


@needs_scienceworld
def test_it_says_what_the_package_says() -> None:
    """The same words, in an order that does not change from run to run, and the same scores."""
    from scienceworld import ScienceWorldEnv as Original

    spec = GameSpec.parse(POWER)
    original = Original("", envStepLimit=1000)
    try:
        original.load(spec.task, spec.variation, "easy", generateGoldPath=False)
        env, rng = begun(POWER, max_steps=1000), random.Random(1)
        assert env.play.task() == " ".join(original.get_task_description().split())
        others = ["look around", "inventory", "dance", "wait1"]
        for chosen in [c for action in solution(spec) for c in (*rng.sample(others, 2), action)]:
            theirs = original.server.step(chosen)
            seen, _, over, _, info = env.step(chosen)
            assert sorted(re.findall(r"\w+", seen)) == sorted(re.findall(r"\w+", theirs)), chosen
            assert info["score"] == round(100 * original.server.getScore()), chosen
            assert over == original.server.getCompleted()
            if over:
                break
        assert env.play.won
    finally:
        original.close()


@needs_scienceworld
def test_the_variations_are_those_of_the_package() -> None:
    from scienceworld import ScienceWorldEnv as Original

    original = Original("")
    try:
        assert set(original.get_task_names()) == set(TASKS)
        for task in TASKS:
            getattr(original.server, "taskStr_$eq")(
                task
            )  # the sets are those of the task that was loaded last
            assert original.get_max_variations(task) == sum(
                len(variations(task, p)) for p in ("train", "dev", "test")
            )  # type: ignore[arg-type]
            assert original.get_variations_train() == list(variations(task, "train"))
            assert original.get_variations_dev() == list(variations(task, "dev"))
            assert original.get_variations_test() == list(variations(task, "test"))
    finally:
        original.close()


@needs_scienceworld
def test_the_expert_finds_back_from_another_room() -> None:
    env = begun(FIND)
    expert = env.expert()
    expert.observe("teleport to foundry", env.step("teleport to foundry")[0])
    assert expert.decide().thought.startswith("I left the way to the solution")
    for _ in range(20):
        decision = expert.decide()
        observation, _, over, _, info = env.step(decision.action)
        expert.observe(decision.action, observation)
        if over:
            break
    assert info["won"]


@pytest.mark.slow
@pytest.mark.timeout(3600)
@needs_scienceworld
def test_gold_paths_solve_every_task() -> None:
    """The simulator's own solutions of a variation of each task that nothing is trained on."""
    solved = {}
    for task in TASKS:
        play = Play(GameSpec.of(task, variations(task, "test")[0]))
        for action in solution(play.game):
            play.step(action)
        solved[task] = play.won
    assert all(solved.values()), [task for task, won in solved.items() if not won]


@pytest.mark.slow
@pytest.mark.timeout(3600)
@needs_scienceworld
@pytest.mark.parametrize("task", TASKS)
def test_forks_disturb_nothing_and_a_replay_leads_to_the_same(task: str) -> None:
    """At random, with forks that are stepped beside each step; what is listed is understood."""
    for simplifications in ("easy", "none"):
        game = GameSpec.of(task, 1, simplifications)
        play, rng, commands, seen = Play(game), random.Random(task), [], ""
        while len(commands) < 15 and not play.over:
            listed = play.admissible()
            other = play.fork()
            for _ in range(2):
                other.step(rng.choice(listed))
            commands.append(rng.choice(listed))
            seen = play.step(commands[-1])
            assert not seen.startswith("No known action"), commands[-1]
        again = Play(game)
        assert [again.step(command) for command in commands][-1] == seen
        assert (again.tree(), again.admissible()) == (play.tree(), play.admissible())


# The process


def running(pid: int) -> bool:
    """Return whether a process runs, zombies not counted."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def gone(pid: int, seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    while running(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not running(pid)


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
    assert gone(process.pid)
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
    assert gone(process.pid)


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
            assert running(pid)
            end(process)
            process.wait()
            assert gone(pid)


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
    assert gone(pid)
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


def test_the_catalogue_names_games_and_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    there = catalogue(SCIENCEWORLD)
    assert there.key("boil/easy/3") == "boil/3"
    assert there.size("unseen_task") == sum(len(variations(task, "test")) for task in HELD_OUT)
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(ScienceWorldMissing):
        there.draw("train", 3)


def test_scienceworld_is_tested_here() -> None:
    """Continuous integration installs it and Java; there, nothing of this is skipped."""
    there = importlib.util.find_spec("scienceworld") is not None and shutil.which("java") is not None
    assert there or not os.environ.get("CI")
