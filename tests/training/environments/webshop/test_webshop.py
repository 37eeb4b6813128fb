"""WebShop as an environment: conformance, expert, tools, and the comparison with the original."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import gymnasium
import pytest

from dyna_training.environments.base import ForkableEnv
from dyna_training.environments.catalogue import WEBSHOP
from dyna_training.environments.webshop import Shop, WebShopEnv
from dyna_training.environments.webshop.equality import Report, check, compare
from dyna_training.environments.webshop.plays import actions
from dyna_training.environments.webshop.session import Session
from dyna_training.environments.webshop.suggestions import searches
from dyna_training.tools import environment_tools, task_message
from tests.data import webshop_data
from tests.training.environments.conformance import Conformance
from tests.training.environments.webshop.shops import folder_of, record, session

GOALS = ("synthetic/3", "synthetic/17", "synthetic/100", "synthetic/2048", "human/0", "human/9")


def make_webshop() -> ForkableEnv:
    os.environ["WEBSHOP_DATA"] = str(webshop_data())
    return WebShopEnv(games=GOALS, max_steps=100)


def does_not_buy(env: ForkableEnv, command: str) -> bool:
    return command != "click[buy now]"


class TestWebShop(Conformance):
    make = staticmethod(make_webshop)
    steps = 10_000
    episodes = tuple({"game": game} for game in GOALS)
    harmless = staticmethod(does_not_buy)


def test_the_oracle_gets_all_that_the_reward_gives(shop: Shop) -> None:
    """It buys the right product with the right options; the reward knows goals that not even these satisfy."""
    env = WebShopEnv(data_dir=webshop_data(), reward="score", max_steps=30, admissible_actions=False)
    rewards = []
    for number in range(0, 6910, 97):
        env.reset(seed=0, options={"game": f"synthetic/{number}"})
        expert = env.expert()
        for _ in range(30):
            action = expert.decide().action
            observation, worth, over, truncated, info = env.step(action)
            expert.observe(action, observation)
            assert not truncated
            if over:
                break
        bought, goal = env.session.state, env.session.goal
        assert shop.products[bought.product].asin == goal.product.asin
        if not info["won"]:
            assert bought.bought is not None
            assert (bought.bought.type, bought.bought.attributes, bought.bought.price) == (1.0, 1.0, True)
            assert set(dict(goal.options).values()) >= set(dict(bought.options).values())
        rewards.append(worth)
    assert sum(worth == 1.0 for worth in rewards) > 0.9 * len(rewards)
    assert sum(rewards) > 0.97 * len(rewards)


def test_the_oracle_leaves_what_no_click_chooses(tmp_path: Path) -> None:
    """Names of buttons, brackets, and what looks the same in ASCII as something else."""
    for value in ("description", "a [b]", "café", "search", "buy now"):
        options = {"Kind": [{"value": value}, {"value": "cafe"}]}
        env = WebShopEnv(data_dir=folder_of(tmp_path / value, record(customization_options=options)))
        env.reset(options={"game": "synthetic/0"})
        if not env.session.goal.instruction.partition("kind: ")[2].startswith(value):
            env.reset(options={"game": "synthetic/1"})
        expert = env.expert()
        for _ in range(4):
            action = expert.decide().action
            expert.observe(action, env.step(action)[0])
        assert env.session.state.page == "done", value


def test_suggested_searches_are_what_the_instruction_says() -> None:
    said = "Find me slim fit men's shorts with elastic waist with color: a[1], and price lower than 50.00 dollars"
    assert searches(said) == [
        "slim fit men's shorts with elastic waist with color: a 1",
        *("slim fit men's shorts", "elastic waist", "color: a 1"),
    ]


def test_inadmissible_commands_do_nothing() -> None:
    env, rng = make_webshop(), random.Random(0)
    env.reset(seed=0)
    for _ in range(40):
        before = env.hidden_state()
        env.step(env.inadmissible(rng))
        assert env.hidden_state() == before
        env.step(rng.choice([action for action in env.admissible() if does_not_buy(env, action)]))


def test_an_episode_is_cut_off() -> None:
    env = WebShopEnv(games=["synthetic/0"], data_dir=webshop_data(), max_steps=3)
    env.reset(seed=0)
    assert [env.step("search[shoes]")[2:4] for _ in range(3)] == [
        (False, False),
        (False, False),
        (False, True),
    ]


def test_gymnasium_and_tools_know_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBSHOP_DATA", str(webshop_data()))
    env = gymnasium.make(WEBSHOP, split="dev")
    assert env.reset(seed=3)[1]["task"]
    [act] = environment_tools(WEBSHOP, split="dev")
    message = task_message(act, seed=0, options={"game": "synthetic/3"})
    assert "Find me" in str(message.content)
    config = {"configurable": {"thread_id": "1", "episode": message.additional_kwargs["episode"]}}
    assert "Total results" in act.invoke({"command": "search[shoes]"}, config)  # type: ignore[arg-type]


def transcript_of(shopping: Session, script: list[str]) -> dict[str, Any]:
    pages, clickables, rewards, done = [shopping.page()], [list(shopping.clickables())], [], []
    for action in script:
        bought = shopping.act(action) and shopping.state.bought
        pages.append(shopping.page())
        clickables.append(list(shopping.clickables()))
        rewards.append(bought.total if bought else 0.0)
        done.append(shopping.state.page == "done")
    return {"pages": pages, "clickables": clickables, "rewards": rewards, "done": done, "step_s": 1.0}


def test_the_comparison_finds_every_sort_of_difference(shop: Shop) -> None:
    script = actions(session(shop, name=GOALS[1]), 20, seed=0)
    assert script == actions(session(shop, name=GOALS[1]), 20, seed=0)
    assert len(script) > 20
    seen, report = transcript_of(session(shop, name=GOALS[1]), script), Report()
    compare(session(shop, name=GOALS[1]), script, seen, report)
    assert not any(report.differences.values())
    assert (report.steps, sum(report.rewards.values())) == (len(script), 1)
    seen["pages"][3] += " "
    seen["clickables"][4] = ["x"]
    seen["rewards"][-1] += 0.1
    seen["done"][5] = True
    compare(session(shop, name=GOALS[1]), script, seen, report)
    counted = {what: count for what, count in report.differences.items() if count}
    assert counted == {"pages": 1, "clickables": 1, "rewards": 1, "ends": 1}


def test_scripts_buy_well_and_badly(shop: Shop) -> None:
    worth, offered = [], 0
    for number in range(40):
        shopping = session(shop, name=f"synthetic/{number}")
        for action in actions(shopping, 15, seed=1):
            offered += shopping.act(action)
        assert shopping.state.bought is not None
        worth.append(shopping.state.bought.total)
    assert 10 < sum(total == 1.0 for total in worth) < 35
    assert len(set(worth)) > 4


@pytest.mark.parametrize(
    ("folder", "python", "message"),
    [
        ("web_agent_site", "/no/such/python", r"no such Python.*--python"),
        ("web_agent_site", "false", r"exit code 1.*Java.*requirements\.txt"),
        ("elsewhere", "false", r"no clone of princeton-nlp/WebShop"),
    ],
)
def test_a_missing_original_is_explained(
    folder: str, python: str, message: str, tmp_path: Path, shop: Shop
) -> None:
    (tmp_path / folder).mkdir()
    with pytest.raises(RuntimeError, match=message):
        check(
            tmp_path,
            python=python,
            shop=shop,
            kind="synthetic",
            sessions=1,
            steps=3,
            seed=0,
            cache=tmp_path / "cache",
        )
