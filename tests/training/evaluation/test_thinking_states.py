"""Policies asked in one fixed set of recorded states of real households; the whole command."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import gymnasium
import pytest
from langchain_core.messages import AIMessage, BaseMessage
from typer.testing import CliRunner

from dyna_graph.cli import app
from dyna_nodes.codec import ChatCodec
from dyna_nodes.codec.policy import POLICY_PROMPT, policy_example
from dyna_nodes.codec.thinking import simulation_line
from dyna_nodes.experience import TrajectoryWriter
from dyna_nodes.nouns import Action, Provenance, Trajectory, Transition
from dyna_nodes.testing import ScriptedChatModel, call
from dyna_training.environments.alfworld.generator import generate
from dyna_training.environments.base import ForkableEnv, text_space
from dyna_training.evaluation.statistics import Bootstrap
from dyna_training.evaluation.thinking import figures_of, judged_turns
from dyna_training.evaluation.thinking.asking import AskedPolicy, answered, conversation, responses
from dyna_training.evaluation.thinking.cache import LineCache
from dyna_training.evaluation.thinking.judges import CachedJudge
from dyna_training.evaluation.thinking.report import markdown, screen
from dyna_training.evaluation.thinking.run import Labelled, ThinkingEvaluation, differences, evaluate
from dyna_training.evaluation.thinking.states import (
    Forks,
    StateError,
    draw_states,
    frozen_states,
    mixture_states,
    reach,
    states_digest,
)
from dyna_training.evaluation.thinking.turns import GroundedJudge, JudgedTurn, Judgement
from dyna_training.rollouts import play

EMPTY = "You are not carrying anything."


@pytest.fixture(scope="module")
def episodes() -> list[Trajectory]:
    return [play(generate(seed), "noisy", seed=seed, split="generated") for seed in range(3)]


def foreseeing(thought: str, command: str = "inventory") -> ScriptedChatModel:
    """A policy that always thinks and does the same."""

    def reply(messages: list[BaseMessage]) -> AIMessage:
        return call("act", command=command, content=thought)

    return ScriptedChatModel(script=reply)


def asked(model: ScriptedChatModel, label: str = "policy", memory: Any = "actions") -> AskedPolicy:
    return AskedPolicy(label, model, label, POLICY_PROMPT, memory)


def test_the_same_arguments_draw_the_same_states_spread_over_the_episodes(episodes: list[Trajectory]) -> None:
    states = draw_states(episodes, 7, seed=3)
    assert states == draw_states(episodes, 7, seed=3)
    assert states_digest(states) != states_digest(draw_states(episodes, 7, seed=4))
    games = [s.provenance.environment for s in states]
    assert sorted(games.count(g) for g in set(games)) == [2, 2, 3]
    assert len({s.id for s in states}) == 7
    for state in states:
        [origin] = [t for t in episodes if t.provenance.environment == state.provenance.environment]
        assert state.transitions == origin.transitions[: len(state.transitions)]
        assert len(state.transitions) < len(origin.transitions)
    there = sum(len(t.transitions) for t in episodes)
    assert len({s.id for s in draw_states(episodes, there)}) == there
    with pytest.raises(ValueError, match=f"{there + 1} states are asked for, .* have {there}"):
        draw_states(episodes, there + 1)


def test_states_are_frozen_in_a_file_that_is_read_again(tmp_path: Path, episodes: list[Trajectory]) -> None:
    drawn = []

    def draw() -> list[Trajectory]:
        drawn.append(1)
        return draw_states(episodes, 4, seed=len(drawn))

    first = frozen_states(tmp_path, draw, "split", 4)
    assert frozen_states(tmp_path, draw, "split", 4) == first
    assert len(drawn) == 1
    assert frozen_states(tmp_path, draw, "split", 4, "other") != first
    assert len(drawn) == 2


def test_trying_the_recorded_action_in_its_state_gives_what_was_recorded(episodes: list[Trajectory]) -> None:
    forks = Forks()
    for state in draw_states(episodes, 12):
        [origin] = [t for t in episodes if t.provenance.environment == state.provenance.environment]
        step = origin.transitions[len(state.transitions)]
        for _ in range(2):  # trying it once changes nothing about the state
            found = forks.outcome(state, step.action)
            assert (found.observation, found.reward, found.done) == (step.observation, step.reward, step.done)


def test_states_of_official_games_are_found_by_their_split(households: Path) -> None:
    states = mixture_states("valid_seen", 5)
    assert len(states) == 5
    assert len({s.provenance.environment for s in states}) == 2
    for state in states:
        assert reach(state).step("dance")[0] == "Nothing happens."
    lost = states[0].provenance.model_copy(update={"split": "train"})
    with pytest.raises(StateError, match="is no game of train"):
        reach(states[0].model_copy(update={"provenance": lost}))


def test_a_state_that_cannot_be_reached_again_says_which_and_why(episodes: list[Trajectory]) -> None:
    state = max(draw_states(episodes, 6), key=lambda s: len(s.transitions))
    elsewhere = state.provenance.model_copy(update={"environment": "my/Game-v0:1"})
    with pytest.raises(StateError, match="my/Game-v0:1 cannot be played again"):
        reach(state.model_copy(update={"provenance": elsewhere}))
    origin = state.provenance.model_copy(update={"split": ""})
    household = origin.model_copy(update={"environment": "dyna/ALFWorld-v0:put-Mug-None-Shelf-3/trial_7"})
    with pytest.raises(StateError, match="recorded without the split"):
        reach(state.model_copy(update={"provenance": household}))
    with pytest.raises(StateError, match="another game than the recorded one"):
        reach(state.model_copy(update={"task": "Find the cheese."}))
    wrong = state.transitions[0].model_copy(update={"observation": "You fly."})
    with pytest.raises(StateError, match=r"step 0 .* not 'You fly.' as recorded"):
        reach(state.model_copy(update={"transitions": (wrong, *state.transitions[1:])}))


class Door(ForkableEnv):
    """A game of another environment: a door, which is named when it is reset."""

    def __init__(self, **options: Any) -> None:
        self.action_space = self.observation_space = text_space(100)
        self.name, self.open = "", False

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[str, dict[str, Any]]:
        self.name, self.open = options["game"], False
        return f"The {self.name} is shut.", {}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        self.open = self.open != (action == "push")
        return f"The {self.name} is {'open' if self.open else 'shut'}.", 0.0, False, False, {}

    def fork(self) -> Self:
        return copy.copy(self)

    def hidden_state(self) -> str:
        return ""

    def admissible(self) -> list[str]:
        return ["push"]


def test_other_environments_are_played_again_by_the_name_of_the_game() -> None:
    gymnasium.register("tests/Door-v0", entry_point=Door, disable_env_checker=True, order_enforce=False)
    pushed = [
        Transition(index=i, action=Action.command("push"), observation=f"The front door is {state}.")
        for i, state in enumerate(["open", "shut", "open"])
    ]
    state = Trajectory(
        task="The front door is shut.",
        transitions=tuple(pushed),
        provenance=Provenance(environment="tests/Door-v0:front door"),
    )
    forks = Forks()
    assert forks.outcome(state, Action.command("push")).observation == "The front door is shut."
    assert forks.outcome(state, Action.command("wait")).observation == "The front door is open."


@pytest.mark.parametrize("memory", ["thoughts", "actions"])
def test_a_policy_is_shown_the_tokens_it_was_trained_on(
    episodes: list[Trajectory], tiny_base: Path, memory: Any
) -> None:
    from transformers import AutoTokenizer

    chat = ChatCodec(AutoTokenizer.from_pretrained(tiny_base))
    origin = episodes[0]
    thought = next(t for t in origin.transitions if t.thought).thought
    index = next(t.index for t in origin.transitions[3:] if t.labels["expert"] and t.thought)
    state = origin.model_copy(update={"transitions": origin.transitions[:index]})
    shown = chat.encode(conversation(state, POLICY_PROMPT, memory)).ids
    # That turn alone is a target, so that those before it are all trunk.
    example = policy_example(chat, origin, memory=memory, turns=[index])
    first = next(i for i, label in enumerate(example.labels) if label != -100)
    assert shown == example.ids[: first + 1]
    assert (thought in chat.decode(shown)) == (memory == "thoughts")


def test_figures_in_fixed_states_are_of_what_the_own_action_really_does(episodes: list[Trajectory]) -> None:
    states = draw_states(episodes, 20)
    policy = asked(foreseeing(simulation_line("inventory", EMPTY)))
    given = responses(policy, states, LineCache(None), batch=6)
    forks = Forks()
    ends = [answered(s, r, forks) for s, r in zip(states, given, strict=True)]
    empty = [reach(s).step("inventory")[0] == EMPTY for s in states]
    assert 0 < sum(empty) < 20
    last = {t.id: [len(t.transitions) - 1] for t in ends}
    found = figures_of(ends, judged_turns(ends, turns=last), played=False)
    assert found.turns == 20
    assert found.overall.strict.coverage.value == 1
    assert found.overall.strict.accuracy.value == pytest.approx(sum(empty) / 20)
    assert found.by["knowledge"].keys() == {"determined"}
    assert found.correlation is None
    assert found.success is None


def test_a_response_without_an_action_counts_as_not_simulated(episodes: list[Trajectory]) -> None:
    states = draw_states(episodes, 6)
    replies = iter(["I am done.", ValueError("the conversation is too long"), *["> dance"] * 4])
    given = responses(asked(ScriptedChatModel(script=lambda m: next(replies))), states, LineCache(None))
    assert sorted(r.problem for r in given) == ["no action"] * 5 + [
        "refused by the model: the conversation is too long"
    ]
    ends = [answered(s, r, Forks()) for s, r in zip(states, given, strict=True)]
    last = {t.id: [len(t.transitions) - 1] for t in ends}
    found = figures_of(ends, judged_turns(ends, turns=last), played=False)
    assert (found.turns, found.without_action, found.overall.strict.coverage.value) == (6, 6, 0)
    assert found.by["action"] == {}


def test_what_was_answered_is_not_asked_again_even_after_a_crash(
    tmp_path: Path, episodes: list[Trajectory]
) -> None:
    states = draw_states(episodes, 8)
    file = tmp_path / "responses.jsonl"
    count = []

    def reply(messages: list[BaseMessage]) -> Any:
        count.append(1)
        if len(count) == 6:
            return ConnectionError("the server is gone")
        return call("act", command="look", content="Hm.")

    model = ScriptedChatModel(script=reply)
    with pytest.raises(ConnectionError):
        responses(asked(model), states, LineCache(file), batch=2)
    assert len(file.read_text().splitlines()) == 4
    with file.open("a") as half:
        half.write('{"key": "half a li')
    cache = LineCache(file)
    assert cache.unreadable == 1
    before = len(count)
    given = responses(asked(model), states, cache, batch=2)
    assert len(count) == before + 4
    assert [r.action for r in given] == [Action.command("look")] * 8
    assert responses(asked(model), states, LineCache(file)) == given
    assert len(count) == before + 4
    responses(asked(model, label="another policy"), states[:1], LineCache(file))
    assert len(count) == before + 5


def test_an_answer_is_kept_whatever_characters_it_has(tmp_path: Path) -> None:
    thought = "one\u2028two\x85three\x0cfour"
    LineCache(tmp_path / "responses.jsonl").put("key", {"thought": thought})
    again = LineCache(tmp_path / "responses.jsonl")
    assert again.get("key") == {"thought": thought}
    assert again.unreadable == 0


def test_the_difference_of_two_policies_is_paired_by_state(episodes: list[Trajectory]) -> None:
    from dyna_training.evaluation.thinking.run import Measured

    states, forks, measured = draw_states(episodes, 15), Forks(), []
    for label, thought in (("silent", "Hm."), ("right", simulation_line("dance", "Nothing happens."))):
        given = responses(asked(foreseeing(thought, "dance"), label), states, LineCache(None))
        ends = [answered(s, r, forks) for s, r in zip(states, given, strict=True)]
        turns = judged_turns(ends, turns={t.id: [len(t.transitions) - 1] for t in ends})
        measured.append(Measured(label, figures_of(ends, turns, played=False), turns, {}))
    [found] = differences(measured, seed=0)
    assert (found["first"], found["second"]) == ("right", "silent")
    for reading in ("strict", "certain", "informed", "exact"):
        assert (found[reading]["value"], found[reading]["low"], found[reading]["steps"]) == (1, 1, 15)
    for one in measured:  # as by a judge that does not tell
        untold = [replace(t, judgement=t.judgement.model_copy(update={"exact": None})) for t in one.turns]
        one.turns[:] = untold
    [found] = differences(measured, seed=0)
    assert (found["strict"]["value"], found["informed"], found["exact"]) == (1, None, None)


def seen_half(states: list[BaseMessage], thoughts: tuple[str, str]) -> AIMessage:
    """Think the first where an even number of messages stands before it, else the second."""
    return call("act", command="dance", content=thoughts[len(states) // 2 % 2])


def test_several_trainings_of_a_policy_are_measured_together(
    tmp_path: Path, episodes: list[Trajectory], monkeypatch: pytest.MonkeyPatch
) -> None:
    from dyna_training.evaluation.thinking import run

    silent, right = "Hm.", simulation_line("dance", "Nothing happens.")
    thoughts = {"never": (silent, silent), "even": (right, silent), "always": (right, right)}
    prompts = dict.fromkeys(thoughts, POLICY_PROMPT)

    def policy(choice: Labelled, settings: ThinkingEvaluation) -> AskedPolicy:
        model = ScriptedChatModel(script=lambda messages: seen_half(messages, thoughts[choice.source]))
        return AskedPolicy(choice.label, model, choice.source, prompts[choice.source], "thoughts")

    monkeypatch.setattr(run, "_policy", policy)
    writer = TrajectoryWriter(tmp_path / "data" / "worker-0.jsonl")
    for trajectory in episodes:
        writer.append(trajectory)
    settings = ThinkingEvaluation(
        policies=(Labelled("rft", "even"), Labelled("ddt", "never"), Labelled("ddt", "always")),
        states=9,
        data=(tmp_path / "data",),
        train=(tmp_path / "data",),
        out=tmp_path / "out",
    )
    results = evaluate(settings)
    even = sum(len(s.transitions) % 2 == 1 for s in draw_states(episodes, 9)) / 9
    assert 0 < even < 1
    one, both = results["policies"]
    assert (one["label"], one["figures"]["turns"], one["trainings"]) == ("rft", 9, [])
    assert one["figures"]["overall"]["strict"]["product"]["value"] == pytest.approx(even)
    assert (both["label"], both["figures"]["turns"], both["figures"]["trajectories"]) == ("ddt", 18, 18)
    assert both["figures"]["overall"]["strict"]["product"]["value"] == 0.5
    assert [(t["source"], t["product"]["value"]) for t in both["trainings"]] == [("never", 0), ("always", 1)]
    assert {t["name"] for t in both["figures"]["trivial"]} >= {"copy", "template"}
    [difference] = results["differences"]
    assert difference["strict"]["value"] == pytest.approx(0.5 - even)
    assert difference["strict"]["steps"] == 9
    shown = " ".join(str(part) for part in screen(results))
    assert "ddt: 18 turns judged (18 by grounded), of 2 trainings." in shown
    assert "By training" in markdown(results, [], "")
    twice = settings.model_copy(update={"policies": (Labelled("ddt", "even"), Labelled("ddt", "even"))})
    with pytest.raises(ValueError, match="two trainings of 'ddt' are the same: even and even"):
        evaluate(twice)
    prompts["always"] = "Dance."
    with pytest.raises(ValueError, match=r"other system prompts, never and always: give one to both"):
        evaluate(settings)


def test_trainings_are_paired_by_state_and_what_one_cannot_be_judged_on_is_left_out(
    episodes: list[Trajectory],
) -> None:
    from dyna_training.evaluation.thinking.run import Measured

    states, forks = draw_states(episodes, 6), Forks()
    given = responses(
        asked(foreseeing(simulation_line("dance", "Nothing happens."), "dance")), states, LineCache(None)
    )
    ends = [answered(s, r, forks) for s, r in zip(states, given, strict=True)]
    turns = judged_turns(ends, turns={t.id: [len(t.transitions) - 1] for t in ends})
    figures = figures_of(ends, turns, played=False)

    def judged(*correct: bool | None) -> list[JudgedTurn]:
        return [
            replace(
                turn,
                judgement=turn.judgement.model_copy(
                    update={"correct": c, "simulated": None if c is None else True}
                ),
            )
            for turn, c in zip(turns, correct, strict=True)
        ]

    first = judged(True, True, False, False, False, False)
    second = [*judged(True, False, True, False, True, None), *judged(True, False, False, True, True, True)]
    [found] = differences(
        [Measured("rft", figures, first, {}), Measured("ddt", figures, second, {}, trainings=2)], seed=0
    )
    # State by state the means are 1, 0, ½, ½, 1; the last is left out.
    boot = Bootstrap([t.facts.game for t in turns], seed=0)
    expected = boot.difference(
        [1, 0, 0.5, 0.5, 1, 0], [1, 1, 0, 0, 0, 0], where=[True, True, True, True, True, False]
    )
    got = found["strict"]
    assert (got["value"], got["steps"]) == (pytest.approx(0.2), 5)
    assert (got["low"], got["high"]) == (pytest.approx(expected.low), pytest.approx(expected.high))


def test_a_judge_is_asked_about_a_turn_once_unless_it_failed(
    tmp_path: Path, episodes: list[Trajectory]
) -> None:
    class Failing(GroundedJudge):
        name = "failing"
        asked = 0

        def judge(self, trajectory: Trajectory, indices: Any) -> list[Judgement]:
            Failing.asked += len(indices)
            failed = Judgement(judge="failing", simulated=None, problem="timeout")
            return [failed if index == 1 else Judgement(judge="failing") for index in indices]

    for _ in range(2):
        judge = CachedJudge(Failing(), LineCache(tmp_path / "judgements.jsonl"))
        found = judge.judge(episodes[0], [0, 1, 2])
        assert [j.problem for j in found] == ["", "timeout", ""]
    assert Failing.asked == 4


@pytest.fixture(scope="module")
def rollouts(tmp_path_factory: pytest.TempPathFactory, episodes: list[Trajectory]) -> Path:
    """A folder of rollouts whose thinking foresees every second step."""
    folder = tmp_path_factory.mktemp("rollouts")
    writer = TrajectoryWriter(folder / "worker-0.jsonl")
    for number, trajectory in enumerate(episodes):
        steps = [
            s.model_copy(update={"thought": simulation_line(s.action.text, s.observation)})
            if s.index % 2 == 0
            else s.model_copy(update={"thought": simulation_line(s.action.text, "Maybe I see a cheese.")})
            for s in trajectory.transitions
        ]
        outcome = "success" if number else "failure"
        writer.append(trajectory.model_copy(update={"transitions": tuple(steps), "outcome": outcome}))
    return folder


def test_the_command_measures_both_settings_writes_a_report_and_goes_on(
    tmp_path: Path, rollouts: Path, tiny_base: Path, households: Path
) -> None:
    out = tmp_path / "out"
    arguments = ["eval", "thinking", "--rollouts", f"half={rollouts}", "--policy", f"tiny=local:{tiny_base}"]
    arguments += ["--states", "4", "--split", "valid_seen", "--memory", "actions", "--max-tokens", "6"]
    arguments += ["--dtype", "float32", "--device", "cpu", "--batch", "3", "--train", str(rollouts)]
    done = CliRunner().invoke(app, [*arguments, "--out", str(out), "--json"])
    assert done.exit_code == 0, done.output
    results = json.loads(done.stdout)
    assert results == json.loads((out / "results.json").read_text())
    [own], [fixed] = results["rollouts"], results["policies"]
    strict = own["figures"]["overall"]["strict"]
    assert strict["coverage"]["value"] == 1
    assert 0.4 < strict["accuracy"]["value"] < 0.7
    assert own["figures"]["success"]["value"] == pytest.approx(2 / 3)
    assert own["figures"]["correlation"]["underpowered"]
    assert fixed["figures"]["turns"] == 4
    assert fixed["figures"]["overall"]["strict"]["coverage"]["value"] == 0
    assert fixed["tokens"]["p90"] <= 6
    assert results["states"]["number"] == 4
    report = (out / "report.md").read_text()
    for words in (
        "On own rollouts",
        "In 4 recorded states of 2 games",
        "half",
        "Maybe I see a cheese",
        "opening",
    ):
        assert words in report
    assert (out / "accuracy.png").read_bytes().startswith(b"\x89PNG")
    assert (out / "success.png").exists()
    answers = (out / "responses.jsonl").read_text()
    again = CliRunner().invoke(app, [*arguments, "--out", str(out)])
    assert again.exit_code == 0, again.output
    assert "coverage × accuracy" in again.stdout
    assert (out / "responses.jsonl").read_text() == answers


def test_rollouts_of_several_policies_in_one_folder_are_told_apart(
    tmp_path: Path, episodes: list[Trajectory]
) -> None:
    writer = TrajectoryWriter(tmp_path / "worker-0.jsonl")
    for number, trajectory in enumerate(episodes):
        origin = trajectory.provenance.model_copy(update={"policy": f"p{number % 2}"})
        writer.append(trajectory.model_copy(update={"provenance": origin}))
    settings = ThinkingEvaluation(rollouts=(Labelled("mine", str(tmp_path)),), baselines=False)
    results = evaluate(settings.model_copy(update={"out": tmp_path / "out"}))
    assert [m["label"] for m in results["rollouts"]] == ["mine, p0", "mine, p1"]
    figures = results["rollouts"][0]["figures"]
    assert 0 < figures["unread"] < figures["turns"]
    assert any("has no form that this judge reads" in str(part) for part in screen(results))
    assert list(screen(results))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "there is nothing to measure"),
        (["--policy", "openai:gpt-5"], "--policy and --states go together"),
        (["--states", "3", "--rollouts", "x"], "--policy and --states go together"),
        (["--rollouts", "a=x", "--rollouts", "a=y"], "two of the rollouts are called 'a'"),
        (["--rollouts", "nowhere", "--no-baselines"], "no trajectories there"),
        (["--policy", "a=", "--states", "3"], "names nobody"),
        (["--policy", "x/a", "--policy", "y/a", "--states", "3"], "two of the policies are called 'a'"),
        (["--rollouts", "x", "--memory", "all"], "--memory"),
        (["--rollouts", "x", "--judge", "nobody:x", "--no-baselines"], "unknown provider 'nobody'"),
        (
            ["--policy", "lost", "--states", "3", "--split", "valid_seen", "--no-baselines"],
            "no adapter 'lost'",
        ),
    ],
)
def test_what_cannot_be_measured_is_said_in_a_line(
    arguments: list[str], words: str, tmp_path: Path, households: Path
) -> None:
    done = CliRunner().invoke(app, ["eval", "thinking", "--out", str(tmp_path / "out"), *arguments])
    assert done.exit_code != 0
    assert words in " ".join((done.output + str(done.exception or "")).split())
