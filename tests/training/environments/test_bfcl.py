"""BFCL's multi-turn tasks: the same answers as BFCL's own executor, the same verdicts as its checker, and bad input."""

from __future__ import annotations

import decimal
import importlib.util
import pickle
import random
import time
from pathlib import Path
from typing import Any

import pytest

from dyna_training.environments.base import GameFileError
from dyna_training.environments.bfcl import (
    APIS,
    HELD_OUT,
    SPLITS,
    TASK_TYPES,
    BfclEnv,
    BfclMissing,
    NotACall,
    TaskNameError,
    all_tasks,
    games,
    package,
    parse_call,
    task,
)
from dyna_training.environments.bfcl.apis import Apis
from dyna_training.environments.bfcl.functions import functions_of, owners, parameters_of
from dyna_training.environments.calls import canonical
from dyna_training.environments.catalogue import catalogue
from dyna_training.environments.text import cut, plain
from tests.training.environments.conformance import Conformance

EPISODES = tuple({"game": f"multi_turn_base_{number}"} for number in (0, 55, 105, 167, 199))


def make_bfcl() -> BfclEnv:
    return BfclEnv(games=list(all_tasks()))


class TestBfcl(Conformance):
    make = staticmethod(make_bfcl)
    steps = 10_000
    episodes = EPISODES
    refusals = ("Error during execution", '{"error"', "[{'error'", "There is no function", "This is no")
    harmless = staticmethod(lambda env, command: command.split("(")[0] in READING)


READING = {
    "ls", "pwd", "find", "du", "cat", "sort", "wc", "tail", "get_watchlist", "get_stock_info", "get_account_info",
    "displayCarStatus", "check_tire_pressure", "list_all_airports", "liter_to_gallon", "get_ticket",
    "travel_get_login_status", "get_zipcode_based_on_city", "mean", "list_users",
}  # fmt: skip
"""Functions that change nothing; random ids and temperatures are drawn one after another, so asking for one changes
the next."""


def begun(game: str, **options: Any) -> BfclEnv:
    env = BfclEnv(games=[game], **options)
    env.reset(seed=0)
    return env


def solve(env: BfclEnv) -> tuple[str, float, bool, dict[str, Any]]:
    expert = env.expert()
    while True:
        action = expert.decide().action
        observation, reward, terminated, truncated, info = env.step(action)
        expert.observe(action, observation)
        if terminated or truncated:
            return observation, reward, terminated, info


# ---------------------------------------------------------------------- as BFCL has it


def bfcl_answers(name: str, turns: list[list[str]], run: str) -> list[list[str]]:
    """Return what BFCL's own executor answers to calls, turn by turn."""
    execute = package.module("eval_checker.multi_turn_eval.multi_turn_utils").execute_multi_turn_func_call
    found = task(name)
    return [
        execute(calls, found.config, list(found.apis), run, name, long_context=False, is_evaL_run=True)[0]
        for calls in turns
    ]


def test_all_ground_truth_calls_are_answered_as_by_bfcls_own_executor() -> None:
    compared = 0
    for name, found in all_tasks().items():
        apis = Apis(found.apis, found.config)
        env = begun(name)
        for calls, answers in zip(
            found.calls, bfcl_answers(name, list(map(list, found.calls)), "equal"), strict=True
        ):
            for call, answer in zip(calls, answers, strict=True):
                parsed = parse_call(call)
                assert apis.execute(parsed) == answer, (name, call)
                ours = canonical(parsed, parameters_of(parsed.name))
                assert env.step(ours)[0] == plain(answer), (name, ours)
                compared += 1
            last = env.step("done")
        assert last[1:3] == (1.0, True), name
    assert (len(all_tasks()), compared) == (200, 1142)


@pytest.mark.parametrize("seed", range(3))
def test_random_conversations_are_answered_and_judged_as_by_bfcl(seed: int) -> None:
    """Some do the task, some do too little, some too much; the checker of the package is asked about each."""
    checker = package.module("eval_checker.multi_turn_eval.multi_turn_checker").multi_turn_checker
    rng, verdicts = random.Random(seed), []
    for name in rng.sample(list(all_tasks()), 40):
        env, said, answers = begun(name), [], []
        apart = rng.choice([0.0, 0.0, 0.2])
        for calls in task(name).calls:
            taken = [call for call in calls if rng.random() >= apart]
            if rng.random() < apart:
                taken.insert(rng.randrange(len(taken) + 1), rng.choice(env.admissible()[:-1]))
            taken = [call for call in map(in_python, taken) if call != "done()"]
            answers.append([env.step(call)[0] for call in taken])
            said.append([[call] for call in taken])
            _, reward, terminated, _, info = env.step("done")
            if terminated:
                break
        theirs = bfcl_answers(name, [[call for [call] in turn] for turn in said], f"random{seed}")
        assert [list(map(plain, turn)) for turn in theirs] == answers
        entry = {"id": name, "initial_config": task(name).config, "involved_classes": list(task(name).apis)}
        truth = [list(calls) for calls in task(name).calls[: len(said)]]
        verdict = checker(said, truth, entry, "multi_turn_base", f"judged{seed}")
        assert verdict["valid"] is not info["lost"], (name, verdict, said)
        assert info["won"] == (reward > 0)
        verdicts.append(info["won"])
    assert 5 < sum(verdicts) < 35


def in_python(call: str) -> str:
    parsed = parse_call(call)
    given = [*map(repr, parsed.args), *(f"{name}={value!r}" for name, value in parsed.kwargs.items())]
    return f"{parsed.name}({', '.join(given)})"


def test_what_bfcl_documents_is_what_can_be_called() -> None:
    assert {api: len(functions_of(api)) for api in APIS} == {
        "GorillaFileSystem": 18,
        "MathAPI": 17,
        "MessageAPI": 10,
        "TicketAPI": 9,
        "TradingBot": 20,
        "TravelAPI": 18,
        "TwitterAPI": 14,
        "VehicleControlAPI": 22,
    }
    for name, api in owners().items():
        assert callable(getattr(package.api_class(api), name))
    [edit] = [function for function in functions_of("TicketAPI") if function.name == "edit_ticket"]
    assert edit.parameters["properties"]["updates"]["type"] == "object"
    [mean] = [function for function in functions_of("MathAPI") if function.name == "mean"]
    assert mean.parameters["properties"]["numbers"]["items"]["type"] == "number"
    [find] = [function for function in functions_of("GorillaFileSystem") if function.name == "find"]
    assert "default" not in find.parameters["properties"]["name"]


# ---------------------------------------------------------------------- turns and rewards


def test_a_turn_ends_with_done_and_the_user_goes_on() -> None:
    env = begun("multi_turn_base_0")
    first, info = env.reset(seed=0)
    turns = task("multi_turn_base_0").turns
    assert first.endswith(f"User: {turns[0]}")
    assert "cd(folder: str)" in first
    assert (info["task"], info["task_type"], info["max_score"]) == (turns[0], "GorillaFileSystem", 4)
    for call in task("multi_turn_base_0").calls[0]:
        env.step(call)
    observation, reward, terminated, _, info = env.step('done({"message": "moved"})')
    assert (observation, reward, terminated, info["score"]) == (f"User: {turns[1]}", 0.0, False, 1)
    assert turns[2] not in env.hidden_state()


def test_both_ways_to_write_a_call_do_the_same() -> None:
    one, other = begun("multi_turn_base_0"), begun("multi_turn_base_0")
    for ours, python in (
        ('cd({"folder": "document"})', "cd(folder='document')"),
        ('touch({"file_name": "x"})', "touch('x')"),
        ("ls({})", " ls() "),
        ('ls({"a": true})', "ls(a=True)"),
    ):
        assert one.step(ours) == other.step(python)
    assert one.hidden_state() == other.hidden_state()


@pytest.mark.parametrize(
    ("calls", "why"),
    [
        ([], "nothing was called"),
        (["ls()"], "the state of GorillaFileSystem"),
        (["no_such_function()"], "nothing was called"),
    ],
)
def test_a_turn_that_is_not_done_loses(calls: list[str], why: str) -> None:
    env = begun("multi_turn_base_0")
    for call in calls:
        env.step(call)
    observation, reward, terminated, truncated, info = env.step("done")
    assert why in observation
    assert (reward, terminated, truncated, info["lost"], info["won"]) == (0.0, True, False, True, False)
    assert env.step("ls()")[:3] == ("The conversation is over.", 0.0, True)
    assert env.admissible() == []


def test_what_was_never_looked_up_loses() -> None:
    env = begun("multi_turn_base_13")
    reading = next(
        i
        for i, calls in enumerate(task("multi_turn_base_13").calls)
        if calls[0].startswith(("cat", "grep", "wc", "tail", "sort", "diff", "ls", "find"))
        and len(calls) == 1
    )
    for turn in range(reading):
        for call in task("multi_turn_base_13").calls[turn]:
            env.step(call)
        env.step("done")
    env.step("pwd()")
    assert "never looked up" in env.step("done")[0]


def test_calls_that_would_do_something_are_listed_where_asked_for() -> None:
    env = BfclEnv(games=["multi_turn_base_0"], admissible_actions=True)
    _, info = env.reset()
    assert info["admissible_actions"] == env.admissible()
    assert {'cd({"folder": "document"})', "ls({})", "done({})"} <= set(info["admissible_actions"])
    assert "admissible_actions" not in begun("multi_turn_base_0").step("ls()")[4]
    rng = random.Random(0)
    for name in (episode["game"] for episode in EPISODES):
        env = begun(name)
        before = env.hidden_state()
        for _ in range(20):
            assert "rror" in env.step(env.inadmissible(rng))[0]
            assert env.hidden_state() == before


def test_something_can_be_done_in_every_task() -> None:
    for name in list(all_tasks())[::2]:
        assert len(begun(name).admissible()) > 5, name


def test_episodes_are_cut_off() -> None:
    env = begun("multi_turn_base_0", max_steps=2)
    assert env.step("ls()")[3] is False
    assert env.step("ls()")[2:4] == (False, True)


def test_the_oracle_passes_over_what_others_called() -> None:
    env = begun("multi_turn_base_0")
    expert = env.expert()
    for other in ("ls()", "nonsense (", "pwd()"):
        expert.observe(other, env.step(other)[0])
    assert expert.decide().action == 'cd({"folder": "document"})'
    assert solve(env)[1] == 1.0


# ---------------------------------------------------------------------- forks


def test_a_fork_takes_a_fraction_of_a_millisecond_and_shares_nothing() -> None:
    env = begun("multi_turn_base_0")
    began = time.perf_counter()
    twins = [env.fork() for _ in range(100)]
    assert time.perf_counter() - began < 1.0
    twins[0].step("cd('document')")
    twins[0].step("rm('final_report.pdf')")
    assert "final_report.pdf: " in env.hidden_state()
    assert "final_report.pdf: " not in twins[0].hidden_state()
    assert solve(twins[1])[1] == 1.0


def test_random_ids_go_on_alike_in_forks_and_after_pickling() -> None:
    env = begun("multi_turn_base_150")
    call = "register_credit_card('abc123xyz456', '4012888888881881', '12/2028', 'A B', 317)"
    seen = {e.step(call)[0] for e in (env.fork(), env.fork(), pickle.loads(pickle.dumps(env)), env)}
    assert len(seen) == 1


# ---------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    "text",
    [
        "", "(", "cd(", "cd)", "cd('a') ; rm('b')", "cd('a'), cd('b')", "[cd('a')]", "self.cd('a')", "lambda: 1",
        "cd(__import__('os'))", "power(2**99, 3)", "cd(*['a'])", "cd(**{'folder': 'a'})", "cd(folder=open('x'))",
        "f(" + "[" * 300 + "]" * 300 + ")", 'f({"a":' * 900 + "1" + "})" * 900, "f(" + "-" * 9000 + "1)",
        "cd('a'\n)\nrm('b')", "cd(folder='\x00')" + "\x00", "x" * 100_000,
        "cat(b'x')", "cat({1: 2}, {3})", "add_contact(user_name={'a': (1, {2})})", "cat(1j)", "cat(...)",
        "cat(" + "[" * 30 + "]" * 30 + ")", 'cat({"file_name": ' + "[" * 30 + "]" * 30 + "})", "cat(" + "9" * 400 + ")",
    ],
)  # fmt: skip
def test_what_is_no_call_is_refused(text: str) -> None:
    with pytest.raises(NotACall, match=r"call|Arguments"):
        parse_call(text)


@pytest.mark.parametrize(
    ("call", "answer"),
    [
        ("power(10, 10**9)", "plain values"),
        ("power(10, 1000000000)", "Exceeds the limit"),
        ("power(base=9999999, exponent=99999999999999999999)", "Exceeds the limit"),
        ("square_root(2, 1000000000)", "more than 10000 digits"),
        ("logarithm(value=2.0, base=10.0, precision=999999999)", "more than 10000 digits"),
        ("round_number(5, -1000000000)", "more than 10000 digits"),
        ("power('a', 'b')", "Both inputs must be numbers"),
        ("power()", "Error during execution"),
        ("mean(None)", "Cannot calculate mean"),
        ("power(2, 100)", "1267650600228229401496703205376"),
    ],
)
def test_calls_that_would_never_end_are_refused(call: str, answer: str) -> None:
    math = next(name for name, found in all_tasks().items() if "MathAPI" in found.apis)
    env = begun(math)
    began = time.perf_counter()
    assert answer in env.step(call)[0]
    assert time.perf_counter() - began < 1.0


def test_copies_of_copies_do_not_fill_the_day() -> None:
    env = begun("multi_turn_base_0")
    for _ in range(60):
        env.step("mkdir('b')")
        env.step("cp('document', 'b')")
        env.step("mv('document', 'c')")
        env.step("mv('c', 'b')")
        env.step("mv('b', 'document')")
    began = time.perf_counter()
    assert "than 2000" in env.step("cp('document', 'archive')")[0]
    env.step("find('.')")
    env.hidden_state()
    assert time.perf_counter() - began < 2.0


def test_a_folder_in_itself_is_answered_and_loses() -> None:
    env = begun("multi_turn_base_0")
    env.step("cp('document', 'document')")
    assert "than 2000" in env.step("cp('document', 'archive')")[0]
    assert "recursion" in env.step("find('.')")[0]
    assert "..." in env.hidden_state()
    env.fork()
    assert env.step("done")[2]


def test_precision_of_others_is_left_alone() -> None:
    import mpmath

    math = next(name for name, found in all_tasks().items() if "MathAPI" in found.apis)
    env, before = begun(math), (mpmath.mp.dps, decimal.getcontext().prec)
    env.step("logarithm(2.0, 10.0, 50)")
    env.step("square_root(2, 50)")
    assert (mpmath.mp.dps, decimal.getcontext().prec) == before


def test_text_that_is_not_ascii_is_kept_in_the_state_and_shown_in_ascii() -> None:
    env = begun("multi_turn_base_0")
    for call in ("cd('document')", "touch('résumé')"):
        env.step(call)
    assert "resume" in env.step("find()")[0] or "\\u00e9" in env.step("ls()")[0]
    assert plain("“Ärger” — €") == '"Arger" - ?'
    assert cut("x" * 20_000, 100).endswith("x... (20,000 characters)")
    assert len(cut("x" * 20_000, 100)) == 100


def test_the_package_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    for cached in (package.folder, package.module):
        cached.cache_clear()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BfclMissing, match="pip install --no-deps bfcl-eval mpmath"):
        package.folder()
    monkeypatch.undo()
    with pytest.raises(BfclMissing, match="pip install --no-deps bfcl-eval mpmath"):
        package.module("no_such_module")


def test_data_that_cannot_be_read_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "data" / "possible_answer").mkdir(parents=True)
    for folder in ("", "possible_answer"):
        (tmp_path / "data" / folder / "BFCL_v4_multi_turn_base.json").write_text("{not json\n")
    monkeypatch.setattr("dyna_training.environments.bfcl.tasks.folder", lambda: tmp_path)
    with pytest.raises(GameFileError, match=r"BFCL_v4_multi_turn_base\.json"):
        all_tasks.__wrapped__()  # type: ignore[attr-defined]


def test_what_there_is_not_is_named() -> None:
    with pytest.raises(TaskNameError, match="multi_turn_base_0 to multi_turn_base_199"):
        BfclEnv(games=["multi_turn_base_200"])
    with pytest.raises(ValueError, match="not both"):
        BfclEnv(games=["multi_turn_base_0"], split="dev")
    with pytest.raises(ValueError, match="unknown split 'valid'"):
        BfclEnv(split="valid")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="max_steps"):
        BfclEnv(max_steps=0)


# ---------------------------------------------------------------------- splits, catalogue


def test_splits_share_no_task_and_nothing_that_gives_one_away() -> None:
    found = {split: games(split) for split in SPLITS}
    assert sorted(sum(found.values(), ())) == sorted(all_tasks())
    for split, names in found.items():
        others = [all_tasks()[n] for other, ns in found.items() if other != split for n in ns]
        for name in names:
            mine = all_tasks()[name]
            assert not any(mine.config == other.config or mine.calls == other.calls for other in others), name
            assert not any(set(mine.turns) & set(other.turns) for other in others), name
    for split in ("train", "dev", "test"):
        calls = [call for name in found[split] for turn in all_tasks()[name].calls for call in turn]
        assert not any(owners()[parse_call(call).name] in HELD_OUT for call in calls)
        assert not any(set(all_tasks()[name].apis) & HELD_OUT for name in found[split])
    assert all(len(names) >= 20 for names in found.values())


def test_the_catalogue_draws_tasks() -> None:
    there = catalogue("dyna/BFCL-v0")
    assert there.draw("dev", 5, seed=1) == there.draw("dev", 5, seed=1) != there.draw("dev", 5, seed=2)
    only = there.draw("train", 0, wanted=lambda kind: kind == "TradingBot")
    assert {task(name).kind for name in only} == {"TradingBot"}
    assert {found.kind for found in all_tasks().values()} == set(TASK_TYPES)
    env = there.open("multi_turn_base_0", max_steps=5)
    assert (
        env.reset()[1]["game_id"]
        == there.key("multi_turn_base_0")
        == there.option("multi_turn_base_0", Path())
    )


def test_functions_are_those_of_the_tasks_that_are_played() -> None:
    assert len(BfclEnv().functions()) == 128 + 1
    names = [function.name for function in BfclEnv(games=["multi_turn_base_0"]).functions()]
    assert len(names) == 18 + 14 + 1
    assert names[-1] == "done"
