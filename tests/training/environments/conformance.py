"""What every environment must do: subclass `Conformance`, name how it is made, and pytest runs the rest.

    class TestAlfworld(Conformance):
        make = staticmethod(make_alfworld)   # a function at the top of its module: other processes import it
        episodes = [{"game": ...}, ...]      # options of resets, one per game

The tests look at an environment from outside: through gymnasium's interface and `ForkableEnv`.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
import random
import re
import resource
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import pytest

from dyna_training.environments.base import ForkableEnv

Options = dict[str, Any]
Seen = tuple[str, float, bool, bool]
COLOUR = re.compile("\x1b\\[[0-9;]*m")

NONSENSE = (
    "",
    " \t\n",
    "dance",
    "take",
    "go to nowhere 99",
    "open the the the",
    "look\nlook",
    "quit",
    "restart",
    "restore",
    "save",
    "undo",
    "'; drop table games --",
    "take mug 1 from mug 1 with mug 1",
    "\x00\x07",
    "öffne die Tür",
    "\udcff\ud800",
    "😀" * 50,
    "look " * 20_000,
)
"""Commands that no game should do anything about; the last one has 100 kB."""


def is_harmless(env: ForkableEnv, command: str) -> bool:
    """Return whether a command can make no task impossible, so that an expert can go on."""
    return command.split()[0] not in {
        "eat",
        "drink",
        "cook",
        "slice",
        "chop",
        "dice",
        "take",
        "use",
        "heat",
        "cool",
    }


class Conformance:
    """The suite.

    Attributes:
        make: Returns a fresh environment that lists admissible actions.
        episodes: Options of resets; the more kinds of games, the better.
        expert_success: Least share of `episodes` that the expert solves.
        refusals: How observations begin that say that a command did nothing.
        steps: Of the check for leaks; in ``make slow`` ten thousand of all; before, of those whose steps are quick.
        growth: How many MB these steps may add.
        without_expert: Further episodes, which have no expert.
        solution: Commands that win the first of `episodes`, of an environment that has no expert.
        partial_credit: Whether steps before the last one are rewarded, too.
        sampled: How many admissible commands are tried in each state, where there are hundreds; None is all.
        harmless: Whether a command leaves the game winnable, and not over; the expert goes on only after such.
    """

    make: ClassVar[Callable[[], ForkableEnv]]
    episodes: ClassVar[Sequence[Options]]
    expert_success: ClassVar[float] = 1.0
    refusals: ClassVar[tuple[str, ...]] = ()
    steps: ClassVar[int] = 1000
    growth: ClassVar[float] = 8.0
    without_expert: ClassVar[Sequence[Options]] = ()
    solution: ClassVar[Sequence[str]] = ()
    partial_credit: ClassVar[bool] = False
    sampled: ClassVar[int | None] = None
    harmless: ClassVar[Callable[[ForkableEnv, str], bool]] = staticmethod(is_harmless)

    @property
    def everything(self) -> Sequence[Options]:
        return (*self.episodes, *self.without_expert)

    @pytest.fixture
    def env(self) -> Iterator[ForkableEnv]:
        env = type(self).make()
        yield env
        env.close()

    # ------------------------------------------------------------------ determinism

    def test_equal_commands_give_equal_episodes(self) -> None:
        for options in self.everything:
            commands = wander(begun(type(self).make(), options), 15, seed=1)
            assert played(type(self).make(), options, commands) == played(
                type(self).make(), options, commands
            )

    def test_a_seed_draws_the_same_game(self, env: ForkableEnv) -> None:
        other = type(self).make()
        for seed in (0, 1, 7):
            first, again = drawn(env, seed), drawn(other, seed)
            assert first == again

    def test_another_process_sees_the_same_and_goes_on(self) -> None:
        """With another seed of hashes, so that nothing hangs on the order of sets."""
        options = self.episodes[-1]
        env = begun(type(self).make(), options)
        first = wander(env, 6, seed=2)
        kept = pickle.dumps(env)
        later = [*wander(env.fork(), 6, seed=3), *expert_commands(env.fork(), options, type(self).make)]
        here = [played(type(self).make(), options, [*first, *later]), went_on(env, later)]
        there = elsewhere(type(self).make, options, [*first, *later], kept, later)
        assert there == here

    # ------------------------------------------------------------------ forks and resets

    def test_a_fork_is_equal_and_independent(self) -> None:
        for options in self.everything:
            env = begun(type(self).make(), options)
            wander(env, 8, seed=3)
            twin, third = env.fork(), env.fork()
            before = (env.hidden_state(), env.admissible())
            assert (twin.hidden_state(), twin.admissible()) == before
            own_way = wander(twin, 10, seed=4)
            assert (env.hidden_state(), env.admissible()) == before
            twin.reset(seed=5)
            assert (env.hidden_state(), env.admissible()) == before
            assert went_on(env, own_way) == went_on(third, own_way)

    def test_reset_after_any_state_begins_afresh(self, env: ForkableEnv) -> None:
        for options in self.everything:
            first = env.reset(seed=0, options=dict(options))
            for steps in (1, 12):
                wander(env, steps, seed=steps)
                assert env.reset(seed=0, options=dict(options)) == first

    def test_it_says_so_when_it_was_never_reset(self, env: ForkableEnv) -> None:
        asked = (env.fork, env.hidden_state, env.admissible, env.expert, env.render)
        for ask in (*asked, lambda: env.step("look")):
            with pytest.raises(RuntimeError, match="reset"):
                ask()

    # ------------------------------------------------------------------ commands

    def test_admissible_commands_are_accepted(self) -> None:
        for options in self.everything:
            env = begun(type(self).make(), options)
            for seed in range(3):
                commands = env.admissible()
                for command in random.Random(seed).sample(
                    commands, min(len(commands), self.sampled or 10**6)
                ):
                    assert env.action_space.contains(command)
                    observation = env.fork().step(command)[0]
                    assert env.observation_space.contains(observation), (options, command, observation)
                    assert not observation.startswith(self.refusals), (options, command, observation)
                wander(env, 5, seed=seed)

    def test_nonsense_is_answered_and_changes_nothing(self) -> None:
        env = begun(type(self).make(), self.episodes[0])
        before = (env.hidden_state(), env.admissible())
        for command in NONSENSE:
            observation, reward, terminated, _, _ = env.step(command)
            assert env.observation_space.contains(observation), command[:40]
            assert observation.strip(), command[:40]
            assert (reward, terminated) == (0.0, False), command[:40]
            assert (env.hidden_state(), env.admissible()) == before, command[:40]

    # ------------------------------------------------------------------ pictures

    def test_it_draws_itself_for_a_terminal(self) -> None:
        for options in self.everything:
            env = begun(type(self).make(), options)
            wander(env, 5, seed=6)
            picture, before = env.render(), (env.hidden_state(), env.admissible())
            plain = COLOUR.sub("", picture)
            assert plain.strip(), options
            assert all(character.isprintable() or character == "\n" for character in plain), picture
            assert COLOUR.findall(picture)[-1:] in ([], ["\x1b[0m"]), "colours run on"
            assert (env.fork().render(), env.render()) == (picture, picture)
            assert (env.hidden_state(), env.admissible()) == before
        assert env.metadata["render_modes"] == [env.render_mode] == ["ansi"]

    # ------------------------------------------------------------------ reward, end, expert

    def test_reward_and_end_flags(self, env: ForkableEnv) -> None:
        """A solved episode ends with a positive reward; nothing else ends so."""
        begun(env, self.episodes[0])
        winning = self.solution or expert_commands(env.fork(), self.episodes[0], type(self).make)
        for command in winning:
            observation, reward, terminated, truncated, info = env.step(command)
            assert isinstance(reward, float)
            assert env.observation_space.contains(observation)
            assert not truncated
            assert info["won"] == terminated
            assert reward > 0 if terminated else reward >= 0 if self.partial_credit else reward == 0
        assert terminated

    def test_the_expert_solves_its_games(self) -> None:
        for options in self.without_expert:
            assert begun(type(self).make(), options).expert() is None, options
        if self.solution:
            assert begun(type(self).make(), self.episodes[0]).expert() is None
            return
        solved = [expert_solves(type(self).make(), options) for options in self.episodes]
        assert sum(solved) >= self.expert_success * len(solved), list(zip(self.episodes, solved, strict=True))

    def test_the_expert_goes_on_after_what_others_did(self) -> None:
        """It decides from what it was told, whoever chose; where a game was not lost, it wins."""
        if self.solution:
            pytest.skip("no expert")
        for options in self.episodes:
            env = begun(type(self).make(), options)
            expert = env.expert()
            assert expert is not None
            rng = random.Random(5)
            for _ in range(3):
                command = rng.choice([c for c in env.admissible() if type(self).harmless(env, c)])
                observation, _, over, _, _ = env.step(command)
                expert.observe(command, observation)
                assert not over
            before = expert.decide()
            expert.fork().observe("look", env.fork().step("look")[0])
            assert expert.decide() == before
            assert goes_on_to_win(env, expert), options

    # ------------------------------------------------------------------ leaks

    def test_memory_does_not_grow(self) -> None:
        self._grows_no_more_than(self.steps)

    @pytest.mark.slow
    def test_memory_does_not_grow_in_ten_thousand_steps(self) -> None:
        self._grows_no_more_than(10_000)

    def _grows_no_more_than(self, steps: int) -> None:
        env = type(self).make()
        scripts = [
            (options, expert_commands(begun(env, options).fork(), options, type(self).make))
            for options in self.episodes
        ]
        live_through(env, scripts, steps // 4)  # what is loaded once is loaded now
        before = resident()
        live_through(env, scripts, steps)
        grown = resident() - before
        assert grown < self.growth, f"{grown:.1f} MB in {steps} steps"


def begun(env: ForkableEnv, options: Options) -> ForkableEnv:
    """Return the environment at the beginning of an episode."""
    env.reset(seed=0, options=dict(options))
    return env


def drawn(env: ForkableEnv, seed: int) -> tuple[str, str]:
    """Return what a seed draws."""
    observation, info = env.reset(seed=seed)
    return observation, info["game_id"]


def wander(env: ForkableEnv, steps: int, *, seed: int) -> list[str]:
    """Execute random admissible commands until the episode ends; return them."""
    rng, taken = random.Random(seed), []
    for _ in range(steps):
        options = env.admissible()
        if not options:
            break
        taken.append(rng.choice(options))
        if env.step(taken[-1])[2]:
            break
    return taken


def went_on(env: ForkableEnv, commands: Sequence[str]) -> tuple[list[Seen], str]:
    """Return all that is seen while commands are executed, and the state at their end."""
    seen: list[Seen] = [env.step(command)[:4] for command in commands]  # type: ignore[misc]
    return seen, env.hidden_state()


def played(env: ForkableEnv, options: Options, commands: Sequence[str]) -> tuple[str, tuple[list[Seen], str]]:
    """Return all that is seen of an episode."""
    observation, _ = env.reset(seed=0, options=dict(options))
    return observation, went_on(env, commands)


def expert_commands(env: ForkableEnv, options: Options, make: Callable[[], ForkableEnv]) -> list[str]:
    """Return what the expert does in a fresh episode; where there is none, what leads anywhere."""
    fresh = begun(make(), options)
    expert, taken = fresh.expert(), []
    if expert is None:
        return wander(fresh, 20, seed=7)
    for _ in range(200):
        command = expert.decide().action
        taken.append(command)
        observation, _, terminated, _, _ = fresh.step(command)
        expert.observe(command, observation)
        if terminated:
            break
    return taken


def expert_solves(env: ForkableEnv, options: Options) -> bool:
    """Return whether the expert solves an episode."""
    begun(env, options)
    return goes_on_to_win(env, env.expert())


def goes_on_to_win(env: ForkableEnv, expert: Any) -> bool:
    """Return whether an expert solves what is left of an episode; each of its thoughts must be one short line."""
    for _ in range(200):
        decision = expert.decide()
        assert decision.thought.strip(), decision
        assert "\n" not in decision.thought, decision
        observation, reward, terminated, truncated, _ = env.step(decision.action)
        expert.observe(decision.action, observation)
        if terminated or truncated:
            return bool(terminated and float(reward) > 0)
    return False


def elsewhere(make: Any, options: Options, whole: list[str], kept: bytes, later: list[str]) -> list[Any]:
    """Return what a process with another seed of hashes sees, of the whole episode and of the pickled rest."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    before = os.environ.get("PYTHONHASHSEED")
    os.environ["PYTHONHASHSEED"] = "4242"
    try:
        process = context.Process(target=_see, args=(theirs, make, options, whole, kept, later))
        process.start()
    finally:
        os.environ.pop("PYTHONHASHSEED") if before is None else os.environ.update(PYTHONHASHSEED=before)
    theirs.close()
    try:
        seen: list[Any] = ours.recv()
    finally:
        process.join()
    return seen


def _see(
    connection: Any, make: Any, options: Options, whole: list[str], kept: bytes, later: list[str]
) -> None:
    connection.send([played(make(), options, whole), went_on(pickle.loads(kept), later)])


def live_through(env: ForkableEnv, scripts: Sequence[tuple[Options, list[str]]], steps: int) -> None:
    """Play episodes over and over, with forks, until so many steps are done."""
    done = 0
    while done < steps:
        for options, commands in scripts:
            begun(env, options)
            for command in commands:
                env.fork().step("look")
                env.step(command)
                done += 2


def resident() -> float:
    """Return the memory of this process, in MB."""
    gc.collect()
    if sys.platform.startswith("linux"):
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
