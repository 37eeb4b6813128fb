"""TextWorld in all that is made of environments: collections, labels, agents' tools and the perfect world model."""

from __future__ import annotations

from pathlib import Path

import pytest
from langchain_core.messages import HumanMessage

from dyna_nodes.nouns import Action, History, Query
from dyna_training.collect import CollectSettings, plan
from dyna_training.collection import CollectError
from dyna_training.environments.catalogue import (
    ALFWORLD,
    CATALOGUES,
    MINIWOB,
    SCIENCEWORLD,
    TEXTWORLD,
    WEBSHOP,
    TooFewGames,
    catalogue,
)
from dyna_training.environments.textworld.games import GameSpec
from dyna_training.recording import Episode, Recorder, default_prompt, game_key, record_of
from dyna_training.rollouts import play
from dyna_training.tools import environment_tools, task_message
from dyna_training.world_models.environment import EnvironmentWorldModel
from tests.data import webshop_data
from tests.training.environments.browsers import needs_browser
from tests.training.environments.scienceworld_games import needs_scienceworld
from tests.training.environments.textworld_games import GAMES, needs_textworld

COOKING = GAMES[-1]
NEEDS = {TEXTWORLD: needs_textworld, SCIENCEWORLD: needs_scienceworld, MINIWOB: needs_browser}


def settings(out: Path, **given: object) -> CollectSettings:
    return CollectSettings.model_validate({"environment": TEXTWORLD, "split": "train", "out": out, **given})


@pytest.mark.parametrize(
    "environment",
    [pytest.param(name, marks=NEEDS[name]) if name in NEEDS else name for name in CATALOGUES],
)
def test_a_catalogue_names_its_games(environment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if environment == WEBSHOP:
        monkeypatch.setenv("WEBSHOP_DATA", str(webshop_data()))
    there = catalogue(environment)
    split = "generated" if environment == ALFWORLD else "train"
    first, rest = there.draw(split, 3, seed=1), there.draw(split, 5, skip=3, seed=1)
    assert first == there.draw(split, 3, seed=1)
    assert len(set(first + rest)) == 8
    kept = there.task_types[0]
    assert len(there.draw(split, 4, wanted=lambda t: t == kept)) == 4
    assert set(there.behaviours) >= {"expert", "noisy", "random"}


@needs_textworld
def test_a_collection_is_planned_by_names(tmp_path: Path) -> None:
    episodes = plan(settings(tmp_path, games=4, task_type="cooking"))
    assert len(episodes) == 12
    assert {e.environment for e in episodes} == {TEXTWORLD}
    assert {GameSpec.parse(e.game).kind for e in episodes} == {"cooking"}
    other = plan(settings(tmp_path, games=4, skip=4, task_type="cooking"))
    assert {e.game for e in episodes}.isdisjoint(e.game for e in other)


@needs_textworld
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"split": "dev_seen"}, "dyna/TextWorld-v0 has no split 'dev_seen'; there are train, dev, test"),
        ({"behaviours": ("clumsy",)}, "clumsy does not play dyna/TextWorld-v0; there are expert, noisy"),
        ({"split": "dev", "games": 201}, "dev has 200 games, fewer than the 201 asked for"),
        ({"split": "unseen_kind", "task_type": "cooking"}, "unseen_kind has 0 games"),
    ],
)
def test_a_collection_that_cannot_be_is_explained(
    given: dict[str, object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(CollectError, match=message):
        plan(settings(tmp_path, **given))


def test_too_few_games_are_counted_after_what_is_skipped() -> None:
    with pytest.raises(TooFewGames, match="after --skip 195 fewer than the 10 asked for"):
        catalogue(TEXTWORLD).draw("test", 10, skip=195)


def test_the_key_of_a_game_is_its_name() -> None:
    assert game_key(COOKING, TEXTWORLD) == COOKING
    assert game_key("cooking/take=1,recipe=2/5", TEXTWORLD) == COOKING
    assert game_key("/games/mine.z8", TEXTWORLD) == "/games/mine.z8"
    assert Episode(COOKING, "expert", 0, TEXTWORLD).key == (COOKING, "expert", 0)


def test_a_model_is_told_what_the_games_understand() -> None:
    told = default_prompt("openai:gpt-5-mini", TEXTWORLD)
    assert "prepare meal" in told
    assert "household" not in told


@needs_textworld
def test_an_episode_is_recorded_and_found_again(tmp_path: Path) -> None:
    recorder = Recorder(0, settings(tmp_path).model_dump(mode="json"))
    record, line = recorder(Episode(COOKING, "expert", 3, TEXTWORLD))
    assert record_of(line) == record
    assert (record.game, record.outcome) == (COOKING, "success")


@needs_textworld
def test_labels_say_how_far_the_expert_is_from_the_end() -> None:
    trajectory = play(COOKING, "expert", seed=4, environment=TEXTWORLD, counterfactuals=1)
    assert trajectory.provenance.environment == f"{TEXTWORLD}:{COOKING}"
    values = [t.labels["return_to_go"] for t in trajectory.transitions]
    assert values[-1] == 1.0
    assert values == sorted(values)
    assert all(t.thought for t in trajectory.transitions if t.labels["expert"])
    assert sum(len(t.counterfactuals) for t in trajectory.transitions) > 2
    assert "recipe: " in (trajectory.hidden_state or "")


@needs_textworld
def test_a_lost_game_is_a_failure_and_worth_nothing() -> None:
    """At random, sooner or later an ingredient is eaten or spoilt."""
    lost = next(
        t
        for seed in range(30)
        for t in [play(COOKING, "random", seed=seed, environment=TEXTWORLD)]
        if t.outcome == "failure"
    )
    last = lost.transitions[-1]
    assert (last.done, last.reward, last.labels["return_to_go"]) == (True, 0.0, 0.0)


@needs_textworld
def test_the_environment_foretells_what_an_agents_tool_does() -> None:
    [act] = environment_tools(TEXTWORLD, admissible_actions=False)
    message = task_message(act, seed=0, options={"game": COOKING})
    assert isinstance(message, HumanMessage)
    config = {"configurable": {"thread_id": "1", "episode": message.additional_kwargs["episode"]}}
    first = act.invoke({"command": "go north"}, config)
    world_model = EnvironmentWorldModel([act])
    history = History(task=str(message.content)).then(Action.command("go north"), first)
    queries = [
        Query(history=history, action=Action.command(c), session="1") for c in ("go east", "eat carrot")
    ]
    further, lost = world_model.predict(queries)
    assert (further.done, further.success) == (False, False)
    assert 0 < (further.value or 0) < 1
    assert (lost.done, lost.success, lost.value) == (True, False, 0.0)
    assert act.invoke({"command": "go east"}, config) == further.observation
