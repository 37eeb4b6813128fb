"""The policy's own thinking as the simulate step, alone and beside a world model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command
from typer.testing import CliRunner

from dyna_graph import DynaConfig, cli
from dyna_graph.agent import create_dyna_agent
from dyna_graph.config import ConfigError
from dyna_nodes.codec.world_model import DISCOUNT
from dyna_nodes.critics import JudgeCritic, OutcomeCritic, TrustGate
from dyna_nodes.events import ObserveEvent, SimulateEvent
from dyna_nodes.experience import ExperienceLog
from dyna_nodes.nouns import Decision, Prediction, Transition, Verdict
from dyna_nodes.testing import (
    SamplingChatModel,
    ScriptedChatModel,
    ScriptedCritic,
    ScriptedWorldModel,
    call,
    calls,
)
from dyna_nodes.trust import Tally
from dyna_nodes.world_models import ThinkingWorldModel

WORLD = {"open fridge 1": "You open the fridge 1. In it, you see a egg 1.", "look": "You see a fridge 1."}


def act(command: str) -> str:
    """Send a command to the kitchen."""
    return WORLD.get(command, "Nothing happens.")


def search(query: str, limit: int) -> str:
    """Search."""
    return f"{limit} hits for {query}."


def thinks(command: str, *lines: str, **options: Any) -> AIMessage:
    """Return a message of a policy that thinks in the shared form and then acts."""
    return call("act", content="\n".join([*lines, f"So I {command}."]), command=command, **options)


OPENS = "If I open fridge 1: You open the fridge 1. Maybe I see a egg."
LOOKS = "If I look: You see a fridge 1."
WRONG = "If I open fridge 1: The fridge 1 is locked."


def agent(script: Any, kind: type[ScriptedChatModel] = ScriptedChatModel, **options: Any) -> Any:
    return create_dyna_agent(
        kind(script=script), [act, search], **{"world_model": ThinkingWorldModel(), **options}
    )


def transitions(drive: Any, made: Any, config: Any = None) -> list[Transition]:
    events = drive.stream(made, config=config, stream_mode="custom")
    return [t for e in events if isinstance(e, ObserveEvent) for t in e.transitions]


def test_what_the_policy_simulates_is_the_prediction(drive: Any, tmp_path: Path) -> None:
    made = agent([thinks("open fridge 1", "Check: fine.", LOOKS, OPENS), "Done."], record=tmp_path)
    (found,) = transitions(drive, made)
    assert found.prediction == Prediction(
        observation="You open the fridge 1. Maybe I see a egg.", model="thinking"
    )
    assert found.inner is None, "it is not recorded twice"
    assert {k: found.scores[k] for k in ("exact", "holds", "certain_holds")} == {
        "exact": 0.0,
        "holds": 1.0,
        "certain_holds": 1.0,
    }
    assert found.labels == {"simulation_correct": 1.0}
    assert found.provenance.versions["world_model"] == "thinking"
    assert list(ExperienceLog(tmp_path).read()) == [found]


def test_a_simulation_that_does_not_come_true_says_so(drive: Any) -> None:
    (found,) = transitions(drive, agent([thinks("open fridge 1", OPENS, "Wait, locked?", WRONG), "Done."]))
    assert found.prediction is not None
    assert found.prediction.observation == "The fridge 1 is locked.", "the last simulation counts"
    assert found.labels == {"simulation_correct": 0.0}
    assert found.scores["holds"] == 0.0


def in_reasoning_content() -> AIMessage:
    return call("act", command="open fridge 1").model_copy(
        update={"additional_kwargs": {"reasoning_content": OPENS}}
    )


def in_blocks() -> AIMessage:
    blocks = [{"type": "thinking", "thinking": OPENS, "signature": "s"}, {"type": "text", "text": "I go."}]
    return call("act", command="open fridge 1").model_copy(update={"content": blocks})


@pytest.mark.parametrize("message", [in_reasoning_content(), in_blocks()])
def test_thinking_outside_of_the_text_counts_and_is_recorded(drive: Any, message: AIMessage) -> None:
    (found,) = transitions(drive, agent([message, "Done."]))
    assert found.labels == {"simulation_correct": 1.0}
    assert found.thought.startswith(OPENS)


MISSING = [
    ([], "wrote no thinking"),
    (["I wonder."], "simulates nothing"),
    ([LOOKS], "simulates 'look', but not the called 'open fridge 1'"),
]


@pytest.mark.parametrize(("lines", "why"), MISSING)
def test_a_call_that_is_not_simulated_is_decided_by_the_failure_policy(
    drive: Any, lines: list[str], why: str
) -> None:
    def unsimulated() -> AIMessage:
        return thinks("open fridge 1", *lines) if lines else call("act", command="open fridge 1")

    events = drive.stream(agent([unsimulated(), "Done."]), stream_mode="custom")
    assert why in str(events[0].simulations[0].prediction.error)
    (found,) = events[3].transitions
    assert (found.scores, found.labels) == ({}, {}), "nothing was imagined, so nothing is scored"
    critic = OutcomeCritic()
    model = [unsimulated(), thinks("look", f"{LOOKS} [SUCCESS]"), "Done."]
    result = drive(agent(model, critic=critic))
    assert "could not be judged" in result["messages"][2].content
    assert why in result["messages"][2].content
    assert result["messages"][4].content == "You see a fridge 1.", "the policy is asked again, and simulates"
    (allowed,) = transitions(drive, agent([unsimulated(), "Done."], critic=critic, on_failure="allow"))
    assert allowed.verdict is not None
    assert allowed.verdict.failed


def test_a_human_is_asked_about_a_call_that_is_not_simulated(drive: Any, thread: Any) -> None:
    made = agent(
        [thinks("open fridge 1"), "Done."],
        critic=OutcomeCritic(),
        on_failure="escalate",
        checkpointer=InMemorySaver(),
    )
    [interrupt] = drive(made, config=thread)["__interrupt__"]
    assert "simulates nothing" in interrupt.value["action_requests"][0]["description"]
    result = drive(made, Command(resume={"decisions": [{"type": "approve"}]}), thread)
    assert result["messages"][-1].content == "Done."


@pytest.mark.parametrize("kind", [ScriptedChatModel, SamplingChatModel])
def test_each_candidate_is_imagined_by_its_own_thinking(drive: Any, kind: type[ScriptedChatModel]) -> None:
    """The same call twice, with different thoughts about it."""
    script = [thinks("open fridge 1", WRONG), thinks("open fridge 1", OPENS), thinks("look"), *["Done."] * 3]
    critic = ScriptedCritic(
        lambda h, s: Verdict(decision=Decision.APPROVE, score=len(s.prediction.observation or ""))
    )
    events = drive.stream(agent(script, kind, candidates=3, critic=critic), stream_mode="custom")
    imagined = [s.prediction for s in events[0].simulations]
    assert [p.observation for p in imagined[:2]] == [
        "The fridge 1 is locked.",
        "You open the fridge 1. Maybe I see a egg.",
    ]
    assert imagined[2].error is not None
    assert events[1].chosen == 1


def test_calls_of_one_message_are_each_imagined(drive: Any) -> None:
    thought = 'If I search({"limit": 2, "query": "egg"}): 2 hits for egg.\nIf I look: You see a stove 1.'
    message = calls(
        ("search", {"query": "egg", "limit": 2}, "1"), ("act", {"command": "look"}, "2"), content=thought
    )
    found = transitions(drive, agent([message, "Done."]))
    assert [t.labels["simulation_correct"] for t in found] == [1.0, 0.0]


def test_sequential_calls_are_imagined_by_the_message_they_stand_in(drive: Any) -> None:
    message = calls(
        ("act", {"command": "look"}, "1"),
        ("act", {"command": "open fridge 1"}, "2"),
        content=f"{LOOKS}\n{OPENS}",
    )
    found = transitions(drive, agent([message, "Done."], tool_settings={"act": {"sequential": True}}))
    assert [t.labels["simulation_correct"] for t in found] == [1.0, 1.0]


def test_further_steps_are_imagined_by_the_thinking_of_the_turn_that_proposes_them(drive: Any) -> None:
    def policy(messages: list[BaseMessage]) -> Any:
        seen = [m.content for m in messages if m.type == "tool"]
        if not seen:
            return thinks("look", LOOKS)
        return thinks("open fridge 1", f"{OPENS} [SUCCESS]") if len(seen) == 1 else "Done."

    events = drive.stream(agent(policy, horizon=3), stream_mode="custom")
    (simulation,) = events[0].simulations
    assert [s.prediction.observation for s in simulation.steps] == [
        "You see a fridge 1.",
        "You open the fridge 1. Maybe I see a egg.",
    ]
    assert simulation.value == pytest.approx(DISCOUNT)


def test_a_changed_call_is_imagined_by_the_same_thinking(drive: Any) -> None:
    def rule(history: Any, simulation: Any) -> Any:
        if simulation.action.text == "look":
            return "approve"
        return Verdict(decision=Decision.MODIFY, action=simulation.action.command("look"))

    made = agent([thinks("open fridge 1", LOOKS, OPENS), "Done."], critic=ScriptedCritic(rule))
    (found,) = transitions(drive, made)
    assert found.action.text == "look"
    assert found.prediction is not None
    assert found.prediction.observation == "You see a fridge 1."
    assert found.labels == {"simulation_correct": 1.0}


def test_in_a_dry_run_the_simulation_takes_the_place_of_the_result(drive: Any) -> None:
    result = drive(agent([thinks("open fridge 1", OPENS), thinks("look"), "Done."], dry_run=True))
    assert result["messages"][2].content == "You open the fridge 1. Maybe I see a egg."
    assert "simulates nothing" in result["messages"][4].content


def test_a_budget_of_simulations_holds_for_thinking_too(drive: Any) -> None:
    script = [thinks("look", LOOKS), thinks("look", LOOKS), "Done."]
    found = transitions(drive, agent(script, tool_settings={"act": {"budget": 1}}))
    assert [t.prediction is not None and t.prediction.error is None for t in found] == [True, False]


def test_a_judge_reads_the_simulation(drive: Any) -> None:
    judge = ScriptedChatModel(script=lambda messages: '{"decision": "approve", "reason": "fine", "score": 1}')
    drive(agent([thinks("open fridge 1", OPENS), "Done."], critic=JudgeCritic(judge)))
    assert "You open the fridge 1. Maybe I see a egg." in str(judge.prompts[0])


# Beside a world model


EXTERNAL = {"open fridge 1": "You open the fridge 1. In it, you see a egg 1."}


def beside(script: Any, predictions: Any = EXTERNAL, **options: Any) -> Any:
    return agent(script, world_model=ScriptedWorldModel(predictions), inner_simulation=True, **options)


def test_both_are_recorded_and_scored_and_the_world_models_is_judged(drive: Any, tmp_path: Path) -> None:
    critic = ScriptedCritic(lambda h, s: "approve")
    made = beside([thinks("open fridge 1", WRONG), "Done."], critic=critic, record=tmp_path)
    (found,) = transitions(drive, made)
    assert found.prediction is not None
    assert found.inner is not None
    assert (found.prediction.model, found.inner.model) == ("scripted", "thinking")
    assert (found.scores["exact"], found.scores["f1"]) == (1.0, 1.0)
    assert found.scores["inner_exact"] == found.scores["inner_holds"] == 0.0
    assert found.labels == {"simulation_correct": 0.0}
    assert critic.judged[0][0].prediction.model == "scripted"
    assert list(ExperienceLog(tmp_path).read()) == [found]


def test_a_world_model_is_not_told_what_the_policy_thinks(drive: Any) -> None:
    world = ScriptedWorldModel(EXTERNAL)
    drive(agent([thinks("open fridge 1", WRONG), "Done."], world_model=world, inner_simulation=True))
    assert [q.thinking for batch in world.batches for q in batch] == [""]


def test_equal_calls_are_asked_once_whatever_was_thought(drive: Any) -> None:
    world = ScriptedWorldModel(EXTERNAL)
    script = [thinks("open fridge 1", WRONG), thinks("open fridge 1", OPENS), *["Done."] * 2]
    made = agent(script, SamplingChatModel, candidates=2, world_model=world, inner_simulation=True)
    events = drive.stream(made, stream_mode="custom")
    assert [len(batch) for batch in world.batches] == [1]
    inner = [s.inner.observation for s in events[0].simulations if s.inner is not None]
    assert inner == ["The fridge 1 is locked.", "You open the fridge 1. Maybe I see a egg."]


def test_thinking_without_simulation_leaves_the_prediction_alone(drive: Any) -> None:
    (found,) = transitions(drive, beside([thinks("open fridge 1"), "Done."], critic=OutcomeCritic("pay")))
    assert found.inner is not None
    assert "simulates nothing" in str(found.inner.error)
    assert found.scores == {"exact": 1.0, "f1": 1.0}
    assert found.labels == {}


def test_without_a_world_model_the_inner_simulation_is_only_recorded(drive: Any) -> None:
    made = agent([thinks("open fridge 1", OPENS), "Done."], world_model=None, inner_simulation=True)
    (found,) = transitions(drive, made)
    assert found.prediction is None
    assert found.inner is not None
    assert found.scores["inner_holds"] == 1.0
    assert "exact" not in found.scores


def test_it_is_off_unless_it_is_asked_for(drive: Any) -> None:
    made = agent([thinks("open fridge 1", OPENS), "Done."], world_model=ScriptedWorldModel(EXTERNAL))
    events = drive.stream(made, stream_mode="custom")
    assert isinstance(events[0], SimulateEvent)
    assert events[0].simulations[0].inner is None
    (found,) = events[3].transitions
    assert found.inner is None
    assert set(found.scores) == {"exact", "f1"}
    assert found.labels == {}


def test_proposals_that_do_not_run_are_recorded_with_both(drive: Any, tmp_path: Path) -> None:
    critic = ScriptedCritic(lambda h, s: "reject" if "open" in s.action.text else "approve")
    script = [thinks("open fridge 1", OPENS), thinks("look", LOOKS), "Done."]
    drive(beside(script, lambda query: "Perhaps.", critic=critic, record=tmp_path))
    (refused,) = [t for t in ExperienceLog(tmp_path).read() if t.provenance.source == "imagination"]
    assert refused.prediction is not None
    assert refused.inner is not None
    assert (refused.prediction.observation, refused.inner.model) == ("Perhaps.", "thinking")
    assert (refused.scores, refused.labels) == ({}, {})


def test_a_changed_call_has_its_own_inner_simulation(drive: Any) -> None:
    def rule(history: Any, simulation: Any) -> Any:
        if simulation.action.text == "look":
            return "approve"
        return Verdict(decision=Decision.MODIFY, action=simulation.action.command("look"))

    made = beside(
        [thinks("open fridge 1", LOOKS), "Done."], lambda query: "Perhaps.", critic=ScriptedCritic(rule)
    )
    (found,) = transitions(drive, made)
    assert found.inner is not None
    assert found.inner.observation == "You see a fridge 1."
    assert found.labels == {"simulation_correct": 1.0}


# Trust


def reliability(drive: Any, made: Any) -> Tally:
    drive(made, config={"configurable": {"thread_id": "t"}})
    found: Tally = made.get_state({"configurable": {"thread_id": "t"}}).values["reliability"]
    return found


def test_trust_counts_the_model_that_was_judged(drive: Any) -> None:
    script = [thinks("open fridge 1", WRONG), "Done."]
    of_both = reliability(drive, beside(script, checkpointer=InMemorySaver()))
    assert of_both["act"]["exact"] == 1.0
    assert "holds" not in of_both["act"]
    of_thinking = reliability(drive, agent(script, checkpointer=InMemorySaver()))
    assert (of_thinking["act"]["exact"], of_thinking["act"]["holds"]) == (0.0, 0.0)


def test_a_gate_opens_once_the_thinking_has_held_often_enough(drive: Any) -> None:
    gate = TrustGate(
        ScriptedCritic(lambda h, s: Verdict(decision=Decision.APPROVE, reason="asked")),
        minimum_count=2,
        lower_bound=0.3,
        metric="holds",
        untrusted="approve",
    )
    script = [thinks("open fridge 1", OPENS) for _ in range(3)] + ["Done."]
    found = transitions(drive, agent(script, critic=gate))
    assert [t.verdict is not None and t.verdict.reason == "asked" for t in found] == [False, False, True]


# YAML, the command line


def test_yaml_takes_the_thinking_as_the_world_model(drive: Any) -> None:
    config = DynaConfig.from_dict({"model": "local:smollm2", "world_model": "thinking", "memory": "actions"})
    model = ScriptedChatModel(script=[thinks("open fridge 1", OPENS), "Done."])
    (found,) = transitions(drive, config.build([act], model=model))
    assert found.prediction is not None
    assert found.prediction.model == "thinking"
    assert model.prompts[1][1].content == ""
    assert config.to_dict()["world_model"] == "thinking"


def test_yaml_takes_both(drive: Any) -> None:
    data = {"model": "local:smollm2", "world_model": "none", "simulate": {"inner_simulation": True}}
    model = ScriptedChatModel(script=[thinks("open fridge 1", OPENS), "Done."])
    world = ScriptedWorldModel(EXTERNAL)
    (found,) = transitions(drive, DynaConfig.from_dict(data).build([act], model=model, world_model=world))
    assert found.scores["exact"] == found.scores["inner_holds"] == 1.0


@pytest.mark.parametrize(
    ("world_model", "message"),
    [
        ({"kind": "thinking", "model": "local:smollm2"}, "'thinking' takes no model"),
        ({"kind": "thinking", "context": "privileged"}, "'thinking' takes no context"),
        ("thinkin", "did you mean 'thinking'"),
    ],
)
def test_yaml_that_makes_no_sense_is_refused(world_model: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        DynaConfig.from_dict({"model": "local:smollm2", "world_model": world_model})


def test_an_unknown_option_is_refused() -> None:
    config = DynaConfig.from_dict(
        {"model": "local:smollm2", "world_model": {"kind": "thinking", "options": {"strict": True}}}
    )
    with pytest.raises(ConfigError, match="unknown option 'strict'"):
        config.build([act], model=ScriptedChatModel(script=[]))


def test_the_log_counts_and_shows_what_was_simulated(
    drive: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "240")
    script = [thinks("open fridge 1", OPENS), thinks("look"), "Done."]
    drive(beside(script, lambda query: "Perhaps.", record=tmp_path))
    printed = CliRunner().invoke(cli.app, ["log", "stats", str(tmp_path), "--json"]).stdout
    figures = json.loads(printed)["tools"]["act"]
    assert figures["inner"] == {"made": 1, "failed": 1}
    assert figures["scores"]["inner_holds"] == {"mean": 1.0, "calls": 1}
    shown = CliRunner().invoke(cli.app, ["log", "stats", str(tmp_path)]).stdout
    assert "simulated in thinking" in shown
    assert "inner_holds" in shown
    assert "certain_holds" in shown
