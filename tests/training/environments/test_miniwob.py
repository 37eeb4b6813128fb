"""Web pages as a text environment: actions, rewards, time, splits, experts; and the suite."""

from __future__ import annotations

import json
import random
import shutil
import threading
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dyna_graph.cli import app
from dyna_training.environments.base import ForkableEnv
from dyna_training.environments.miniwob import (
    EXPERTS,
    SPLITS,
    TASKS,
    Game,
    GameNameError,
    MiniWobEnv,
    games,
)
from dyna_training.environments.miniwob.actions import NoAction, parse, readable
from dyna_training.environments.miniwob.choosing import opening
from dyna_training.environments.miniwob.chromium import browser_program
from dyna_training.environments.miniwob.seen import Seen
from dyna_training.environments.miniwob.splits import UNREADABLE, UNSEEN
from dyna_training.environments.miniwob.tabs import TABS, tabs
from tests.training.environments.browsers import needs_browser
from tests.training.environments.conformance import Conformance

WITH_EXPERT = ("enter-text/4", "click-checkboxes/2", "click-tab-2-easy/3")
WITHOUT = ("tic-tac-toe/1", "find-midpoint/2")


def make_miniwob() -> ForkableEnv:
    return MiniWobEnv(games=[*WITH_EXPERT, *WITHOUT], max_steps=1000)


def is_harmless(env: ForkableEnv, command: str) -> bool:
    """Buttons and coloured words end episodes."""
    acted_on = Seen(env.render()).first(lambda one: f"[{one.ref}]" in command)
    return acted_on is None or acted_on.kind not in ("button", "span.alink")


@pytest.mark.timeout(1800)  # ten thousand steps are two thousand pages
@needs_browser
class TestMiniWob(Conformance):
    make = staticmethod(make_miniwob)
    episodes = tuple({"game": game} for game in WITH_EXPERT)
    without_expert = tuple({"game": game} for game in WITHOUT)
    refusals = ("Nothing happens.",)
    harmless = staticmethod(is_harmless)
    steps = 60  # every episode loads a page


@pytest.fixture
def env() -> MiniWobEnv:
    return MiniWobEnv(max_steps=100)


def begun(env: MiniWobEnv, game: str) -> str:
    return env.reset(seed=0, options={"game": game})[0]


def solved(env: MiniWobEnv, game: str) -> bool:
    begun(env, game)
    expert = env.expert()
    assert expert is not None
    for _ in range(30):
        decision = expert.decide()
        observation, reward, terminated, _, info = env.step(decision.action)
        expert.observe(decision.action, observation)
        if terminated:
            return bool(info["won"] and reward == 1.0)
    return False


# -------------------------------------------------------------------- names, actions, observations: no browser


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("click [3]", {"do": "click", "where": {"ref": 3}}),
        ("  click 80,-4 ", {"do": "click", "where": {"x": 80, "y": -4}}),
        ('type [12] "a \\"b\\" \\u00e9"', {"do": "type", "where": {"ref": 12}, "text": 'a "b" é'}),
        ('select [1] "x, y"', {"do": "select", "where": {"ref": 1}, "text": "x, y"}),
        ("press ArrowLeft", {"do": "press", "key": "ArrowLeft"}),
        ("drag [1] to [2]", {"do": "drag", "from": {"ref": 1}, "to": {"ref": 2}}),
        ("drag 1,2 by -40,0", {"do": "drag", "from": {"x": 1, "y": 2}, "by": [-40, 0]}),
        ("scroll [4] down", {"do": "scroll", "where": {"ref": 4}, "direction": "down"}),
        ("highlight [4]", {"do": "highlight", "where": {"ref": 4}, "text": ""}),
        ('highlight [4] "two words"', {"do": "highlight", "where": {"ref": 4}, "text": "two words"}),
        ("wait", {"do": "wait"}),
    ],
)
def test_actions_are_read(text: str, action: object) -> None:
    assert parse(text) == action


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "The actions are"),
        ("click", "The actions are"),
        ("click [a]", "The actions are"),
        ("click [3] [4]", "The actions are"),
        ("type [3] hello", "The actions are"),
        ('type [3] "a\\qb"', "no JSON string"),
        ('type [3] "a\nb"', "no JSON string"),
        ("press Hyper", "no key 'Hyper'"),
        ("drag [1] by 3", "The actions are"),
        ("wait 3", "The actions are"),
        ('type [3] "' + "x" * 100_000 + '"', "at most 1000 characters"),
    ],
)
def test_what_is_no_action_is_told_why(text: str, why: str) -> None:
    with pytest.raises(NoAction, match=why.replace("(", r"\(")):
        parse(text)


def test_other_characters_are_shown_as_they_can_be_typed() -> None:
    shown = readable('"Cancél 😀 \x07"')
    assert shown.isascii()
    assert shown.isprintable()
    assert json.loads(shown) == "Cancél 😀 \x07"
    assert readable('"plain \\" text"') == '"plain \\" text"'


def test_an_observation_is_read_back() -> None:
    seen = Seen(
        "\n".join(
            [
                '"two \\"words\\""',
                '[1] text field "Name" with "a \\u00e9" focused',
                '  [2] list of "one, two" selected, "three"',
                "[3] span.star.clicked",
                '[4] radio button "x" checked',
                "[5] circle coloured red at 3,4 size 5x6",
                "no line of a page",
            ]
        )
    )
    assert seen.texts == ('two "words"',)
    field, menu, star, radio, circle = (line for line in seen.lines if line.ref)
    assert (field.kind, field.label, field.value, field.is_field) == ("text field", "Name", "a é", True)
    assert menu.options == {"one, two": True, "three": False}
    assert (star.kind, radio.says("checked"), circle.says("red")) == ("span.star.clicked", True, True)
    assert seen.labelled("X") is radio


@pytest.mark.parametrize(
    "name", ["click-button", "click-button/x", "nothing/3", "../click-button/3", "click-button/-1"]
)
def test_what_names_no_game_is_told_why(name: str) -> None:
    with pytest.raises(GameNameError):
        Game.parse(name)
    with pytest.raises(GameNameError):
        MiniWobEnv(games=[name])


def test_a_name_is_read_and_written() -> None:
    for name in ("click-button/7", "flight.AA/test/3", "click-button/train/7"):
        game = Game.parse(name)
        assert Game.parse(str(game)) == game
    assert str(Game.parse("click-button/train/7")) == "click-button/7"


@pytest.mark.parametrize(
    "wrong", [{"split": "train", "games": []}, {"max_steps": 0}, {"reward": "more"}, {"split": "unknown"}]
)
def test_arguments_that_cannot_be_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"split|max_steps|reward"):
        MiniWobEnv(**wrong)  # type: ignore[arg-type]


# -------------------------------------------------------------------- splits


def test_no_game_is_in_two_splits_and_no_task_is_seen_and_unseen() -> None:
    parts = {split: games(split) for split in SPLITS}
    names = [str(game) for part in parts.values() for game in part]
    assert len(names) == len(set(names))
    seeds = {split: {game.seed for game in part} for split, part in parts.items()}
    assert not seeds["train"] & (seeds["dev"] | seeds["test"])
    assert not seeds["dev"] & seeds["test"]
    seen = {game.task for split in ("train", "dev", "test") for game in parts[split]}  # type: ignore[index]
    unseen = {game.task for game in parts["unseen_task"]}
    assert unseen == UNSEEN
    assert seen == set(TASKS) - UNSEEN - UNREADABLE
    for split, part in parts.items():
        assert len({game.task for game in part[:20]}) == 20, split
        assert {game.task for game in part} & set(EXPERTS), split


@pytest.mark.slow
@pytest.mark.timeout(1800)
@needs_browser
def test_no_page_is_first_shown_in_two_splits() -> None:
    seen: dict[tuple[str, ...], str] = {}
    for split in SPLITS:
        for game in games(split):
            page = (game.task, *opening(split, game.task, game.seed))
            assert page not in seen, (seen.get(page), str(game))
            seen[page] = str(game)


# -------------------------------------------------------------------- rewards and time


@needs_browser
def test_success_is_rewarded_with_the_step_that_ends_the_episode(env: MiniWobEnv) -> None:
    assert solved(env, "click-button/7")
    over = env.step("wait")
    assert over[:4] == ("Nothing happens. The episode is over.", 0.0, True, False)
    assert env.admissible() == over[4]["admissible_actions"] == []


@needs_browser
@pytest.mark.parametrize(("reward", "expected"), [("success", 0.0), ("score", 0.5)])
def test_a_part_of_the_task_is_worth_what_the_page_gives(reward: str, expected: float) -> None:
    env = MiniWobEnv(reward=reward, max_steps=100)  # type: ignore[arg-type]
    observation = begun(env, "click-checkboxes/7")
    boxes = Seen(observation).all("checkbox")
    wanted = (
        observation.partition("\n")[0].removeprefix("Task: Select ").rpartition(" and click")[0].split(", ")
    )
    right = round(len(boxes) * 0.75)  # the page gives right minus wrong over all
    assert len(boxes) == 4, observation
    for number, box in enumerate(boxes):
        if (box.label in wanted) == (number < right):
            env.step(f"click [{box.ref}]")
    submit = Seen(observation).all("button")[0]
    _, got, terminated, _, info = env.step(f"click [{submit.ref}]")
    assert (got, info["score"], info["won"], info["lost"], terminated) == (expected, 0.5, False, True, True)


@needs_browser
def test_what_is_done_late_is_worth_as_much(env: MiniWobEnv) -> None:
    """The pages end an episode after ten seconds of their time and pay less the later it is."""
    begun(env, "click-button/7")
    expert = env.expert()
    assert expert is not None
    for _ in range(30):
        observation, _, terminated, _, _ = env.step("wait")
        expert.observe("wait", observation)
        assert not terminated
    assert env.step(expert.decide().action)[1] == 1.0


@needs_browser
def test_time_passes_by_actions_alone(env: MiniWobEnv) -> None:
    """A price that changes ten times a second is the same after equally many actions."""

    def prices(pause: float) -> list[str]:
        begun(env, "stock-market/3")
        seen = []
        for _ in range(3):
            time.sleep(pause)
            seen.append(env.step("wait")[0])
        return seen

    fast = prices(0)
    assert len(set(fast)) == 3
    assert prices(0.3) == fast


@needs_browser
def test_an_episode_is_cut_off() -> None:
    env = MiniWobEnv(games=["click-button/7"], max_steps=2)
    env.reset(seed=0)
    assert env.step("wait")[2:4] == (False, False)
    assert env.step("nonsense")[2:4] == (False, True)


# -------------------------------------------------------------------- pages


@needs_browser
def test_refused_actions_say_why_and_change_nothing(env: MiniWobEnv) -> None:
    begun(env, "login-user/1")
    before = (env.hidden_state(), env.admissible())
    for action, why in (
        ("click [9]", "There is no [9] on the page."),
        ('type [3] "x"', "Nothing can be typed into [3]."),
        ('select [1] "x"', "[1] is no list."),
        ("scroll [1] up", "[1] does not scroll."),
        ("click 900,900", "There is nothing at 900,900."),
    ):
        assert env.step(action)[0] == f"Nothing happens. {why}"
    assert (env.hidden_state(), env.admissible()) == before
    begun(env, "enter-date/1")
    assert env.step('type [1] "tomorrow"')[0] == "Nothing happens. [1] takes a date, and no other text."
    assert '"2020-02-03"' in env.step('type [1] "2/3/2020"')[0]
    begun(env, "choose-list/1")
    assert "no such option" in env.step('select [1] "nowhere"')[0]


KEYS = tuple(f"press {key}" for key in (*"rm", "Space", *"directory.gif", "Enter"))


@needs_browser
@pytest.mark.parametrize(
    ("game", "actions"),
    [
        ("drag-items/1", ["drag [2] to [3]"]),
        ("drag-box/1", ["drag [1] to [2]", "click [3]"]),
        ("draw-line/1", ["drag 51,60 to 51,130", "click [3]"]),
        ("resize-textarea/1", ["drag [4] by 20,20", "click [5]"]),
        ("text-editor/2", ["highlight [5]", "click [3]", "click [6]"]),
        ("terminal/1", KEYS),
        ("use-autocomplete/3", ['type [1] "Rus"', "click [3]", "click [2]"]),
        ("click-pie-nodelay/2", ["click [4]", "click [9]"]),
    ],
)
def test_the_actions_do_what_the_pages_expect(env: MiniWobEnv, game: str, actions: list[str]) -> None:
    begun(env, game)
    for action in actions:
        observation, _, _, _, info = env.step(action)
        assert not observation.startswith("Nothing happens."), action
    assert info["won"]


@needs_browser
def test_what_a_page_draws_anew_is_numbered_anew(env: MiniWobEnv) -> None:
    begun(env, "choose-date/1")
    observation, earlier = env.step("click [1]")[0], []
    while '"March 2016"' not in observation:
        back = Seen(observation).labelled("Prev")
        assert back is not None
        earlier.append(back.ref)
        observation = env.step(f"click [{back.ref}]")[0]
    assert len(set(earlier)) == 9
    day = Seen(observation).labelled("5")
    assert day is not None
    env.step(f"click [{day.ref}]")
    assert env.step("click [2]")[4]["won"]


@needs_browser
def test_text_of_any_characters_is_typed_and_shown(env: MiniWobEnv) -> None:
    begun(env, "login-user/1")
    text = json.dumps('é😀 <b>"x"\\ \t.', ensure_ascii=True)
    assert f"[1] text field with {text} focused" in env.step(f"type [1] {text}")[0]
    assert solved(env, "unicode-test/1")


@needs_browser
def test_hidden_parts_of_a_page_are_in_the_hidden_state_alone(env: MiniWobEnv) -> None:
    observation = begun(env, "click-collapsible-2/1")
    assert "[-]" not in observation
    hidden = env.hidden_state()
    assert '[-] span.alink "nam"' in hidden
    assert hidden == env.hidden_state()
    assert "click [4]" not in env.admissible()
    assert "click [4]" in env.step("click [1]")[4]["admissible_actions"]


@needs_browser
@pytest.mark.parametrize("task", EXPERTS)
def test_each_expert_solves_a_game(task: str) -> None:
    assert solved(MiniWobEnv(max_steps=100), f"{task}/400")


@pytest.mark.slow
@needs_browser
@pytest.mark.parametrize("task", EXPERTS)
def test_each_expert_solves_its_games(task: str) -> None:
    mine = [game for split in ("dev", "test", "unseen_task") for game in games(split) if game.task == task]  # type: ignore[arg-type]
    env = MiniWobEnv(max_steps=100)
    assert all(solved(env, str(game)) for game in (*mine, *(Game(task, seed) for seed in range(600, 620))))


@pytest.mark.slow
@needs_browser
@pytest.mark.parametrize("task", TASKS)
def test_every_task_opens_and_survives_random_play(task: str) -> None:
    env = MiniWobEnv(max_steps=100)
    for seed in range(3):
        begun(env, f"{task}/{seed}")
        rng = random.Random(seed)
        for _ in range(15):
            commands = env.admissible()
            assert commands
            verb = rng.choice(sorted({command.split()[0] for command in commands}))
            observation, _, terminated, _, _ = env.step(
                rng.choice([c for c in commands if c.startswith(verb)])
            )
            assert env.observation_space.contains(observation)
            assert not observation.startswith("Nothing happens.")
            if terminated:
                break
        else:
            twin = env.fork()
            assert (twin.hidden_state(), twin.admissible()) == (env.hidden_state(), env.admissible())


# -------------------------------------------------------------------- forks, tabs, threads


@needs_browser
def test_a_fork_costs_nothing_until_it_is_used(env: MiniWobEnv) -> None:
    begun(env, "login-user/1")
    env.step('type [1] "x"')
    shown = tabs().loads
    forks = [env.fork() for _ in range(3 * TABS)]
    assert [fork.admissible() for fork in forks] == [env.admissible()] * len(forks)
    assert tabs().loads == shown
    for number, fork in enumerate(forks):
        assert f'with "{number}"' in fork.step(f'type [2] "{number}"')[0]
    assert tabs().loads == shown + len(forks)
    for number, fork in enumerate(forks):  # most have lost their tab by now
        assert f'with "{number}"' in fork.step("click [1]")[0]
    assert 'password field with ""' in env.step("click [1]")[0]


@needs_browser
def test_threads_take_turns() -> None:
    results: dict[int, bool] = {}

    def play(number: int) -> None:
        results[number] = solved(MiniWobEnv(max_steps=100), f"login-user/{number}")

    threads = [threading.Thread(target=play, args=(number,)) for number in range(2 * TABS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == dict.fromkeys(range(2 * TABS), True)


# -------------------------------------------------------------------- the commands


@needs_browser
def test_a_trajectory_is_collected(tmp_path: Path) -> None:
    arguments = [
        "collect",
        "--environment",
        "dyna/MiniWoB-v0",
        "--split",
        "train",
        "--games",
        "1",
        "--seed",
        "1",
    ]
    done = CliRunner().invoke(
        app, [*arguments, "--behaviours", "expert,noisy,random", "--out", str(tmp_path / "out")]
    )
    assert done.exit_code == 0, done.output
    lines = [json.loads(line) for file in tmp_path.rglob("*.jsonl") for line in file.read_text().splitlines()]
    assert len([line for line in lines if "transitions" in line]) == 3


# -------------------------------------------------------------------- the package's own environment


@pytest.mark.slow
@needs_browser
@pytest.mark.skipif(shutil.which("chromedriver") is None, reason="needs apt-get install chromium-driver")
@pytest.mark.parametrize(
    "task", ["click-button", "login-user", "email-inbox", "choose-date", "use-slider", "terminal"]
)
def test_a_seed_gives_the_page_that_the_package_gives(task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import gymnasium
    import miniwob

    for name, value in (
        ("SE_OFFLINE", "true"),
        ("MINIWOB_CHROME_BINARY", browser_program()),
        ("MINIWOB_CHROMEDRIVER", str(shutil.which("chromedriver"))),
    ):
        monkeypatch.setenv(name, value)
    gymnasium.register_envs(miniwob)
    theirs = gymnasium.make(f"miniwob/{task}-v1", disable_env_checker=True)
    ours = MiniWobEnv()
    try:
        for seed in (0, 7):
            observation, _ = theirs.reset(seed=seed)
            assert ours.reset(options={"game": f"{task}/{seed}"})[1]["task"] == observation["utterance"]
    finally:
        theirs.close()
