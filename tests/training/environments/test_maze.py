"""Mazes: rules, how they are made, shortest ways beside mazelib's own solver, splits, and names that are none."""

from __future__ import annotations

import importlib
import itertools
import random
import sys
from pathlib import Path

import pytest

from dyna_training.environments.base import ForkableEnv, GameFileError, PackageMissing
from dyna_training.environments.boards.leaks import identity
from dyna_training.environments.catalogue import MAZE
from dyna_training.environments.maze import KINDS, SPLITS, Maze, MazeEnv, games, make, maze_of
from dyna_training.environments.maze.making import LONGEST
from dyna_training.environments.maze.splits import task_type
from dyna_training.rollouts import play
from tests.training.environments.conformance import Conformance

NAMES = ("backtracking-4/3", "kruskal-5/1", "wilsons-6/2", "prims-9/4", "sidewinder-12/5")


def make_maze() -> ForkableEnv:
    return MazeEnv(games=NAMES, max_steps=100)


class TestMaze(Conformance):
    make = staticmethod(make_maze)
    steps = 10_000
    episodes = tuple({"game": game} for game in NAMES)
    refusals = ("There is a wall", "That is no command")


def test_a_walk_by_hand() -> None:
    env = MazeEnv(games=["kruskal-5/1"], max_steps=60)
    first, info = env.reset(seed=0)
    maze = maze_of("kruskal-5/1")
    board = first.partition("\n\n")[2].split("\n")
    assert {(row, line.index("P")) for row, line in enumerate(board) if "P" in line} == {maze.start}
    assert {(row, line.index("G")) for row, line in enumerate(board) if "G" in line} == {maze.goal}
    assert info["task_type"] == "kruskal"
    walls = [
        command for command in ("up", "down", "left", "right") if command not in info["admissible_actions"]
    ]
    assert env.step(walls[0])[0] == "There is a wall.\n" + "\n".join(board)
    assert env.inadmissible(random.Random(0)) in walls
    expert = env.expert()
    for left in range(maze.distances[maze.start], 0, -1):
        decision = expert.decide()
        assert f"The goal is {left} move" in decision.thought
        observation, reward, won, _, info = env.step(decision.action)
        expert.observe(decision.action, observation)
        assert (won, reward) == ((left == 1), float(left == 1))
    assert "G" not in observation
    assert env.step("up")[0] == "The game is won and over."


def test_the_same_name_is_the_same_maze_whatever_was_drawn_before() -> None:
    for name in NAMES:
        kind, size, seed = name.replace("/", "-").split("-")
        random.random()
        before = random.getstate()
        assert make(kind, int(size), int(seed)) == maze_of(name)  # type: ignore[arg-type]
        assert random.getstate() == before


@pytest.mark.parametrize("kind", KINDS)
def test_ways_are_as_short_as_those_of_the_solver_of_mazelib(kind: str) -> None:
    """Its ShortestPath finds no way between two cells inside; its other solvers do, and are pruned after."""
    from mazelib import Maze as Original
    from mazelib.solve.BacktrackingSolver import BacktrackingSolver
    from numpy import array, int8

    for seed in range(10):
        maze = make(kind, 6, seed)  # type: ignore[arg-type]
        original = Original()
        original.grid = array([[cell == "#" for cell in row] for row in maze.rows], dtype=int8)
        original.start, original.end = maze.start, maze.goal
        original.solver = BacktrackingSolver()
        original.solve()
        way = original.solutions[0]  # without both ends
        assert maze.distances[maze.start] == len(way) + 1


@pytest.mark.parametrize("split", SPLITS)
def test_mazes_are_a_fair_walk_and_solved(split: str) -> None:
    for name in games(split)[:20]:  # type: ignore[arg-type]
        maze, size = maze_of(name), int(name.split("-")[1].split("/")[0])
        assert size <= maze.distances[maze.start] <= LONGEST
        trajectory = play(name, "expert", seed=0, split=split, environment=MAZE, max_steps=80)
        assert trajectory.outcome == "success", name


@pytest.mark.slow
def test_every_maze_is_solved() -> None:
    for name in itertools.chain.from_iterable(games(split) for split in SPLITS):
        env = MazeEnv(games=[name], max_steps=LONGEST)
        env.reset(seed=0)
        expert, won = env.expert(), False
        while not won:
            action = expert.decide().action
            observation, _, won, truncated, _ = env.step(action)
            expert.observe(action, observation)
            assert not truncated, name


def test_no_maze_is_in_two_splits() -> None:
    seen = {split: {identity(maze_of(name).rows) for name in games(split)[:600]} for split in SPLITS}
    for one, other in itertools.combinations(seen, 2):
        assert seen[one].isdisjoint(seen[other]), (one, other)
    kinds = {split: {task_type(name) for name in games(split)} for split in SPLITS}
    assert kinds["train"] == kinds["dev"] == kinds["test"] == kinds["larger"]
    assert kinds["unseen_kind"].isdisjoint(kinds["train"])


@pytest.mark.parametrize(
    "name", ["kruskal", "labyrinth-5/1", "kruskal-5/-1", "kruskal-5", "", "kruskal-5/1\n"]
)
def test_a_name_that_is_none_is_explained(name: str) -> None:
    with pytest.raises(GameFileError, match="is no name of a maze; names are such as backtracking-5/7"):
        MazeEnv(games=[name])


@pytest.mark.parametrize("size", [0, 2, 41, 999])
def test_a_size_that_cannot_be_is_explained(size: int) -> None:
    with pytest.raises(GameFileError, match=f"3 to 40 cells on each side, not {size}"):
        MazeEnv(games=[f"kruskal-{size}/1"]).reset()


def test_the_smallest_and_the_largest_can_be_made() -> None:
    for name in ("backtracking-3/0", "kruskal-40/9000000"):
        maze = maze_of(name)
        assert isinstance(maze, Maze)
        assert maze.distances[maze.start] >= 3


def test_a_missing_package_says_how_it_is_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "mazelib.generate.Wilsons", None)
    importlib.invalidate_caches()
    with pytest.raises(PackageMissing, match=r"pip install 'dyna-graph\[maze\]'"):
        MazeEnv(games=["wilsons-7/123"]).reset()


def test_an_unknown_split_is_explained() -> None:
    with pytest.raises(ValueError, match="unknown split 'big'; there are train, dev"):
        MazeEnv(split="big")  # type: ignore[arg-type]
