"""The frozen episodes, and what is known about their steps."""

from __future__ import annotations

from pathlib import Path

import pytest

from dyna_nodes.nouns import Action, Trajectory, Transition
from dyna_training.behaviours import MIXTURE
from dyna_training.environments.alfworld.near_miss import is_goal_command
from dyna_training.environments.alfworld.task import Task
from dyna_training.environments.base import GameFileError
from dyna_training.evaluation import episodes

FIRST = (
    "-= Welcome to TextWorld, ALFRED! =-\n\nYou are in the middle of a room. Looking quickly around you, you see a "
    "drawer 1, a sinkbasin 1, and a shelf 1.\n\nYour task is to: put a clean mug in shelf."
)
EPISODE = [
    ("go to drawer 1", "You arrive at drawer 1. The drawer 1 is closed."),
    ("open drawer 1", "You open the drawer 1. The drawer 1 is open. In it, you see a mug 1."),
    ("move mug 1 to shelf 1", "Nothing happens."),
    ("take mug 1 from drawer 1", "You pick up the mug 1 from the drawer 1."),
    ("go to shelf 1", "You arrive at shelf 1. On the shelf 1, you see nothing."),
    ("move mug 1 to shelf 1", "You move the mug 1 to the shelf 1."),
    ("take mug 1 from shelf 1", "You pick up the mug 1 from the shelf 1."),
    ("go to sinkbasin 1", "You arrive at sinkbasin 1. On the sinkbasin 1, you see nothing."),
    ("clean mug 1 with sinkbasin 1", "You clean the mug 1 using the sinkbasin 1."),
    ("go to shelf 1", "You arrive at shelf 1. On the shelf 1, you see nothing."),
    ("move mug 1 to shelf 1", "You move the mug 1 to the shelf 1."),
]


def episode() -> Trajectory:
    last = len(EPISODE) - 1
    steps = tuple(
        Transition(action=Action.command(c), observation=o, reward=float(i == last), done=i == last)
        for i, (c, o) in enumerate(EPISODE)
    )
    trajectory = Trajectory(id="one", task=FIRST, transitions=steps, outcome="success")
    provenance = trajectory.provenance.model_copy(
        update={"environment": "dyna/ALFWorld-v0:x/y", "policy": "noisy"}
    )
    return trajectory.model_copy(update={"provenance": provenance})


def test_what_is_known_about_each_step() -> None:
    found = episodes.facts(episode())
    assert [f.knowledge for f in found] == [
        "first look",
        "first look",
        "determined",
        "determined",
        "first look",
        "determined",
        "determined",
        "first look",
        "determined",
        "determined",
        "determined",
    ]
    assert [i for i, f in enumerate(found) if f.success] == [10]
    # Elsewhere and with empty hands, and then before it is clean.
    assert [i for i, f in enumerate(found) if f.near_miss] == [2, 5]
    assert {f.game for f in found} == {"dyna/ALFWorld-v0:x/y"}
    assert [f.verb for f in found][:4] == ["go", "open", "move", "take"]


def test_other_environments_say_themselves_what_is_determined() -> None:
    step = Transition(
        action=Action(tool="search", arguments={"q": "x"}), observation="y", labels={"determined": 0}
    )
    trajectory = Trajectory(task="t", transitions=(step, step.model_copy(update={"labels": {}})))
    found = episodes.facts(trajectory)
    assert [(f.verb, f.knowledge, f.near_miss) for f in found] == [
        ("search", "first look", False),
        ("search", None, False),
    ]


@pytest.mark.parametrize(
    ("task", "command", "goal"),
    [
        ("put a clean mug in shelf.", "move mug 2 to shelf 3", True),
        ("put a clean mug in shelf.", "move cup 2 to shelf 3", False),
        ("put a clean mug in shelf.", "take mug 2 from shelf 3", False),
        ("look at mug under the desklamp.", "use desklamp 1", True),
        ("look at mug under the desklamp.", "use floorlamp 1", False),
    ],
)
def test_the_kind_of_command_that_completes_a_task(task: str, command: str, goal: bool) -> None:
    assert is_goal_command(Task.parse(task), command) is goal


def test_the_mixture_plays_every_game_by_every_behaviour_and_again_the_same(households: Path) -> None:
    first = episodes.record("valid_seen", 2)
    assert [t.provenance.policy for t in first] == [*MIXTURE, *MIXTURE]
    assert episodes.counts(first)["games"] == 2
    again = episodes.record("valid_seen", 2)
    assert episodes.episodes_digest(first) == episodes.episodes_digest(again)
    assert episodes.episodes_digest(episodes.record("valid_seen", 2, seed=1)) != episodes.episodes_digest(
        first
    )
    assert (
        sum(f.success for t in first for f in episodes.facts(t))
        == sum(t.outcome == "success" for t in first)
        > 0
    )


def test_what_is_determined_is_indeed_what_comes(households: Path) -> None:
    """Across the mixture, equal histories have equal determined observations: replay proves it step by step."""
    from dyna_training.environments.alfworld import KnownWorld

    checked = 0
    for trajectory in episodes.record("valid_seen"):
        world = KnownWorld(trajectory.task)
        for step, fact in zip(trajectory.transitions, episodes.facts(trajectory), strict=True):
            if fact.knowledge == "determined":
                assert (world.predict(fact.command) or "").strip() == fact.observation
                checked += 1
            world.observe(fact.command, step.observation)
    assert checked > 50


def test_probes_end_with_a_near_miss(households: Path) -> None:
    probes = episodes.near_misses("valid_seen")
    assert len(probes) >= 3
    for probe in probes:
        found = episodes.facts(probe)
        assert found[-1].near_miss
        assert not any(f.success for f in found)
        assert found[-1].verb in ("move", "use")
        assert found[-1].observation != "Nothing happens."
        assert probe.hidden_state is not None


def test_walkthroughs_that_training_games_have_too(households: Path) -> None:
    mixture = episodes.record("valid_seen", 2)
    assert episodes.seen_walkthroughs(mixture, "valid_seen") == set()
    train = households / "json_2.1.1" / "train"
    played = episodes.record("valid_seen", 1)[0]
    name = played.provenance.environment.partition(":")[2]
    copy = train / name / "game.tw-pddl"
    copy.parent.mkdir(parents=True)
    copy.write_bytes((households / "json_2.1.1" / "valid_seen" / name / "game.tw-pddl").read_bytes())
    try:
        from dyna_training.environments.alfworld import splits

        splits._published.cache_clear()
        splits._train_walkthroughs.cache_clear()
        assert episodes.seen_walkthroughs([played], "valid_seen") == {played.provenance.environment}
    finally:
        copy.unlink()
        copy.parent.rmdir()
        splits._published.cache_clear()
        splits._train_walkthroughs.cache_clear()


def test_missing_games_are_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(GameFileError, match="alfworld-download"):
        episodes.record("dev_unseen", 1, data_dir=tmp_path)
