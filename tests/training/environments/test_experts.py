import random

import pytest

from dyna_training.environments.alfworld import Game, SearchingExpert, State, WalkthroughExpert
from dyna_training.environments.alfworld.generator import generate


def episode(game: Game, *, noise: float = 0.0, seed: int = 0) -> tuple[bool, list[tuple[str, str, str]]]:
    """Let the searching expert play; with noise, some of its actions are replaced by random ones."""
    generator, state = random.Random(seed), State(game)
    expert = SearchingExpert(game.task, state.introduction())
    told = []
    for _ in range(50):
        decision = expert.decide()
        action = decision.action
        if generator.random() < noise:
            action = generator.choice([*state.admissible(), "dance"])
        observation, won = state.step(action)
        expert.observe(action, observation)
        told.append((decision.thought, decision.action, observation))
        if won:
            return True, told
    return False, told


@pytest.fixture(scope="module")
def games() -> list[Game]:
    return [generate(seed) for seed in range(1000, 1060)]


def test_searching_wins_nineteen_of_twenty(games: list[Game]) -> None:
    won = [episode(game)[0] for game in games]
    assert sum(won) >= 0.95 * len(games)


def test_searching_goes_on_after_any_action(games: list[Game]) -> None:
    won = [episode(game, noise=0.3, seed=index)[0] for index, game in enumerate(games)]
    assert sum(won) >= 0.9 * len(games)


def test_thoughts_are_short_and_name_the_wanted(games: list[Game]) -> None:
    for game in games[:20]:
        for thought, _, _ in episode(game)[1]:
            assert 3 <= len(thought.split()) <= 12, thought


def test_searching_knows_its_history_only(games: list[Game]) -> None:
    """Told the same task, first observation and pairs, a fresh expert decides the same without the game."""
    for game in games[:10]:
        state = State(game)
        first = state.introduction()
        told = episode(game, noise=0.2)[1]
        history: list[tuple[str, str]] = []
        state = State(game)
        generator = random.Random(0)
        expert = SearchingExpert(game.task, first)
        for thought, action, _ in told:
            again = SearchingExpert(game.task, first)
            for pair in history:
                again.observe(*pair)
            decision = again.decide()
            assert (decision.thought, decision.action) == (thought, action)
            done = action
            if generator.random() < 0.2:
                done = generator.choice([*state.admissible(), "dance"])
            observation, _ = state.step(done)
            expert.observe(done, observation)
            history.append((done, observation))


def test_a_fork_of_the_expert_goes_its_own_way(games: list[Game]) -> None:
    for game in games[:10]:
        state = State(game)
        expert = SearchingExpert(game.task, state.introduction())
        for _ in range(6):
            before = expert.decide()
            twin, place = expert.fork(), state.fork()
            for _ in range(4):
                action = twin.decide().action
                twin.observe(action, place.step(action)[0])
            assert expert.decide() == before
            expert.observe(before.action, state.step(before.action)[0])


def test_the_walkthrough_is_played_to_its_end(games: list[Game]) -> None:
    for game in games[:20]:
        state, expert = State(game), WalkthroughExpert(game)
        won = False
        for index in range(3 * len(game.walkthrough)):
            if won:
                break
            # Interruptions do not make it skip.
            action = "inventory" if index % 3 == 2 else expert.decide().action
            observation, won = state.step(action)
            expert.observe(action, observation)
        assert won
        assert expert.fork().decide().action == "look"


def test_no_walkthrough_no_expert(small: Game) -> None:
    with pytest.raises(ValueError, match="no walkthrough"):
        WalkthroughExpert(small)


def test_a_task_it_cannot_read_is_refused(small: Game) -> None:
    with pytest.raises(ValueError, match="not an ALFWorld task"):
        SearchingExpert("bake a cake", State(small).introduction())
