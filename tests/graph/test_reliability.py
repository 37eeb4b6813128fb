"""From an experience log to which tools the world model can be believed about, and from which threshold on."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml
from langgraph.checkpoint.memory import InMemorySaver
from typer.testing import CliRunner

from dyna_graph import DynaConfig, create_dyna_agent
from dyna_graph.cli import app
from dyna_graph.config.build import build_critic
from dyna_graph.config.critics import TrustSettings
from dyna_graph.errors import DynaError
from dyna_graph.reliability import calibrate, measure, propose, read_evidence
from dyna_graph.reliability.report import calls_needed, lower_by_trajectory
from dyna_nodes.critics import TrustGate
from dyna_nodes.experience import ExperienceLog, LoggedReliability
from dyna_nodes.nouns import Action, Decision, Prediction, Provenance, Transition, Verdict
from dyna_nodes.testing import ScriptedChatModel, ScriptedCritic, ScriptedWorldModel, call
from dyna_nodes.trust import estimate, merge, tally, wilson_lower

RIGHT = {"find_order": 1.0, "refund_order": 0.95, "cancel_order": 0.5}
OTHER = Provenance(versions={"world_model": "old"})


def step(number: int, tool: str = "find_order", exact: float = 1.0, **changes: Any) -> Transition:
    """Return the ``number``-th executed call, three to a trajectory."""
    given: dict[str, Any] = {
        "id": f"id{number}",
        "trajectory": f"t{number // 3}",
        "index": number % 3,
        "action": Action(tool=tool),
        "prediction": Prediction(observation="x", model="wm"),
        "scores": {"exact": exact, "f1": 0.5 + exact / 2, "outcome": exact},
        "time": 1e9 + number,
        "provenance": Provenance(versions={"world_model": "wm"}),
    }
    return Transition(**{**given, **changes})


def written(folder: Path, transitions: Iterable[Transition]) -> Path:
    with ExperienceLog(folder) as log:
        for transition in transitions:
            log.append(transition)
    return folder


def orders(count: int = 300, seed: int = 0) -> list[Transition]:
    """Return calls whose predictions come true as often as `RIGHT` says, surer where they do."""
    rng = random.Random(seed)
    result = []
    for number in range(count):
        tool = rng.choice(list(RIGHT))
        exact = float(rng.random() < RIGHT[tool])
        sure = min(1.0, max(0.0, rng.gauss(0.85 if exact else 0.45, 0.1)))
        prediction = Prediction(observation="x", success=True, confidence=sure, model="wm")
        result.append(step(number, tool, exact, prediction=prediction))
    return result


# What is counted


def test_figures_are_those_of_the_gate(tmp_path: Path) -> None:
    log = written(tmp_path / "log", orders())
    report = measure(read_evidence(log))
    figures: Any = {}
    for transition in ExperienceLog(log).read():
        figures = merge(figures, tally(transition))
    for tool in report.tools:
        found = estimate(figures, tool.tool, "exact")
        measured = tool.metrics["exact"]
        assert (measured.calls, measured.mean, measured.lower) == found
    by_name = {t.tool: t for t in report.tools}
    assert [by_name[name].proposed for name in RIGHT] == [True, True, False]
    assert by_name["cancel_order"].missing is None
    assert "more calls will not bring it to 0.80" in by_name["cancel_order"].why


def test_only_what_ran_and_what_this_model_predicted_counts(tmp_path: Path) -> None:
    imagined = Provenance(source="imagination", versions={"world_model": "wm"})
    failed = Prediction(model="wm", error="down")
    log = written(
        tmp_path / "log",
        [
            *(step(n) for n in range(30)),
            *(step(n, provenance=OTHER, exact=0.0) for n in range(30, 40)),
            *(step(n, provenance=imagined, exact=0.0) for n in range(40, 45)),  # of a dry run
            *(step(n, provenance=imagined, status="unknown", scores={}) for n in range(45, 52)),  # refused
            step(60, status="unknown"),
            step(61, prediction=failed, scores={}),
            step(62, prediction=None, scores={}, provenance=Provenance()),
        ],
    )
    tool = measure(read_evidence(log)).tools[0]
    assert (tool.metrics["exact"].calls, tool.metrics["exact"].mean) == (30, 1.0)
    assert (tool.calls, tool.predicted, tool.failed, tool.not_executed) == (43, 32, 1, 7)
    old = measure(read_evidence(log, model="old"))
    assert old.tools[0].metrics["exact"].mean == 0.0
    assert old.other_models == {"wm": 32}
    with pytest.raises(DynaError, match=r"by the world model 'new'; those that did: old, wm"):
        read_evidence(log, model="new")
    with pytest.raises(DynaError, match=r"no call of find_ordr; did you mean 'find_order'\?"):
        read_evidence(log, tools=["find_ordr"])
    with pytest.raises(DynaError, match="is no folder"):
        read_evidence(tmp_path / "nowhere")


def test_cold_start_is_untrusted_and_says_how_many_calls_are_missing(tmp_path: Path) -> None:
    log = written(tmp_path / "log", [*(step(n) for n in range(5)), step(9, "refund_order", scores={})])
    few, none = measure(read_evidence(log)).tools
    assert (few.trusted, few.missing) == (False, 15)
    assert few.why == "5 of at least 20 calls; about 15 more if it goes on like this"
    assert (none.trusted, none.missing, none.metrics) == (False, 20, {})
    assert "cold start" in none.why
    assert propose(measure(read_evidence(log))).startswith("# No tool can be put under enforce yet.")


@pytest.mark.parametrize(("mean", "bound"), [(1.0, 0.8), (0.9, 0.8), (0.97, 0.95)])
def test_the_number_of_calls_needed_is_the_first_that_reaches_the_bound(mean: float, bound: float) -> None:
    needed = calls_needed(mean, bound, 0.95)
    assert needed is not None
    assert wilson_lower(mean * needed, needed) >= bound - 1e-9
    assert wilson_lower(mean * (needed - 1), needed - 1) < bound


def test_calls_of_one_trajectory_count_for_what_they_are(tmp_path: Path) -> None:
    """Forty calls of two trajectories prove less than forty of forty, though the gate itself cannot tell."""
    log = written(tmp_path / "log", (step(n, trajectory=f"t{n % 2}") for n in range(40)))
    tool = measure(read_evidence(log)).tools[0]
    assert (tool.trusted, tool.proposed) == (True, False)
    assert "collect more trajectories" in tool.why
    alike = [float(n // 10 % 2) for n in range(200)]  # each trajectory all right or all wrong
    groups = [str(n // 10) for n in range(200)]
    mixed = [float(n % 2) for n in range(200)]
    assert lower_by_trajectory(alike, groups, 0.95) == pytest.approx(wilson_lower(9.5, 19), abs=1e-9)
    assert lower_by_trajectory(mixed, groups, 0.95) == pytest.approx(wilson_lower(100, 200), abs=0.01)


# What is proposed


def test_the_proposal_is_a_configuration_that_trusts_these_tools_at_once(tmp_path: Path) -> None:
    log = written(tmp_path / "log", orders())
    text = propose(measure(read_evidence(log), TrustSettings(untrusted="reject", metric="outcome")))
    assert "#   cancel_order: outcome is 0." in text
    (tmp_path / "dyna.yaml").write_text(f"model: local:x\nworld_model: none\nrecord: log\n{text}")
    config = DynaConfig.from_file(tmp_path / "dyna.yaml")
    assert config.mode == "enforce"
    assert set(config.critic[0].tools) == {"find_order", "refund_order"}
    critic = build_critic(config, ScriptedChatModel(script=[]), ScriptedWorldModel({}, name="wm"))
    gate = critic.rules[0].critic  # type: ignore[union-attr]
    assert isinstance(gate, TrustGate)
    assert gate.source()["refund_order"]["outcome_count"] >= 20, "the gate starts with what the log says"


def test_the_proposal_keeps_the_critics_of_the_configuration(tmp_path: Path) -> None:
    log = written(tmp_path / "log", orders())
    config = DynaConfig.from_dict(
        {
            "model": "local:x",
            "critic": [
                {"critic": "outcome", "tools": ["refund_*", "cancel_*"], "minimum_confidence": 0.7},
                "judge",
            ],
        }
    )
    text = propose(measure(read_evidence(log)), config)
    proposed = DynaConfig.from_dict({"model": "local:x", **yaml.safe_load(text)})
    assert [(c.critic, c.tools) for c in proposed.critic] == [
        ("outcome", ("refund_order",)),
        ("judge", ("find_order",)),
    ]
    assert proposed.critic[0].minimum_confidence == 0.7  # type: ignore[union-attr]
    nobody = DynaConfig.from_dict({"model": "local:x", "critic": {"critic": "value", "tools": "z*"}})
    assert propose(measure(read_evidence(log)), nobody).startswith("# No critic of the configuration judges")


# The gate and the log


def test_the_log_of_a_shadow_run_opens_the_gate_in_another_thread(tmp_path: Path) -> None:
    """From shadow to trust with real agents: what the first thread earned counts in the second."""

    def look(place: str) -> str:
        """Look somewhere."""
        return f"nothing on {place}"

    def agent(script: list[Any], **more: Any) -> Any:
        world_model = ScriptedWorldModel(lambda q: f"nothing on {q.action.arguments['place']}")
        return create_dyna_agent(
            ScriptedChatModel(script=script), [look], world_model=world_model, record=log, **more
        )

    def guarded(thread: str) -> Any:
        made = agent([call("look", place="bed"), "done"], critic=gate, checkpointer=InMemorySaver())
        config = {"configurable": {"thread_id": thread}}
        return made.invoke({"messages": [("user", "look")]}, config)["messages"][-2]

    log = ExperienceLog(tmp_path / "log")
    source = LoggedReliability(log, refresh=0)
    critic = ScriptedCritic(lambda history, simulation: Verdict(decision=Decision.REJECT, hint="not there"))
    gate = TrustGate(critic, minimum_count=12, lower_bound=0.8, untrusted="approve", source=source)
    assert guarded("before").content == "nothing on bed", "cold start: the critic is not asked"
    talk = [*(call("look", place=f"desk {n}") for n in range(12)), "done"]
    agent(talk, mode="shadow").invoke({"messages": [("user", "look around")]})
    assert source()["look"]["exact_count"] == 13
    assert guarded("after").content == "not there"


def test_what_is_added_is_counted_once_and_what_is_deleted_no_longer(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    source = LoggedReliability(folder, model="wm", refresh=0)
    assert source() == {}, "an empty log trusts nobody"
    written(folder, [step(1), step(2), step(3, provenance=OTHER, exact=0.0)])
    assert source()["find_order"]["exact_count"] == 2
    written(folder, [step(2), step(4, exact=0.0)])
    assert (source()["find_order"]["exact"], source()["find_order"]["exact_count"]) == (2, 3)
    newest = ExperienceLog(folder).segments()[-1]
    with newest.open("ab") as file:
        file.write(b'{"half')
    assert source()["find_order"]["exact_count"] == 3
    newest.unlink()
    assert source()["find_order"]["exact_count"] == 2
    (folder / "9.jsonl").write_text('{"format": "dyna-experience/99"}\n{"anything": 1}\n')
    assert source()["find_order"]["exact_count"] == 2


# Thresholds


def test_a_confidence_threshold_is_chosen_and_confirmed_on_newer_trajectories(tmp_path: Path) -> None:
    log = written(tmp_path / "log", orders(600))
    found = calibrate(read_evidence(log), 0.9, "minimum_confidence")
    assert found.status == "confirmed"
    assert found.threshold is not None
    assert found.held_out is not None
    assert found.chosen_on is not None
    assert 0.4 < found.threshold < 0.8
    assert found.held_out.low >= 0.9
    assert 0.5 < found.held_out.coverage < 1
    assert found.chosen_on.calls + found.held_out.calls == 600
    enough = [p.believed for _, p in found.curve if p.low >= 0.9]
    assert 0.9 * max(enough) <= found.chosen_on.believed <= max(enough), "nearly all that may be believed"


def test_a_gate_is_replayed_with_what_was_known_before_each_call(tmp_path: Path) -> None:
    log = written(tmp_path / "log", orders(600))
    found = calibrate(read_evidence(log), 0.9)
    assert (found.status, found.held_out is not None) == ("confirmed", True)
    assert found.held_out is not None
    assert found.held_out.precision is not None
    assert found.held_out.precision > 0.9 > sum(RIGHT.values()) / 3
    assert set(found.held_out.by_tool) == {"find_order", "refund_order"}
    assert found.held_out.coverage == pytest.approx(2 / 3, abs=0.1), "two of three tools are believed"


def test_a_bad_tool_does_not_hide_behind_a_good_one(tmp_path: Path) -> None:
    """Together they are right often enough; the bad one is still not let through."""
    calls = [step(n, "bad" if n % 10 == 0 else "good", float(n % 20 != 0)) for n in range(1200)]
    found = calibrate(read_evidence(written(tmp_path / "log", calls)), 0.9)
    assert found.chosen_on is not None
    assert set(found.chosen_on.by_tool) == {"good"}
    assert any(p.low > 0.9 and "bad" in p.by_tool for _, p in found.curve), "precise enough only together"


def test_a_world_that_has_changed_is_not_confirmed(tmp_path: Path) -> None:
    changed = [
        *(step(n) for n in range(300)),
        *(step(n, exact=float(n % 2)) for n in range(300, 600)),
    ]
    found = calibrate(read_evidence(written(tmp_path / "log", changed)), 0.9)
    assert found.status == "not confirmed"
    assert "contradict" in found.why


def test_too_few_calls_are_said_to_be_too_few(tmp_path: Path) -> None:
    log = written(tmp_path / "log", (step(n) for n in range(40)))
    found = calibrate(read_evidence(log), 0.9)
    assert (found.status, found.threshold) == ("too few", None)
    assert "each part needs at least 25" in found.why
    none = calibrate(
        read_evidence(written(tmp_path / "bad", (step(n, exact=n % 2) for n in range(300)))), 0.9
    )
    assert (none.status, none.threshold) == ("none", None)
    with pytest.raises(ValueError, match="wished"):
        calibrate(read_evidence(log), 1.0)


# The commands


def run(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(w) for w in words], env={"COLUMNS": "160"})
    return result.exit_code, result.output


def test_the_command_trust(tmp_path: Path) -> None:
    log = written(
        tmp_path / "log",
        [*orders(), step(900, "cancel_order", verdict=Verdict(decision=Decision.REJECT), status="error")],
    )
    code, out = run("trust", log)
    assert code == 0
    assert "Only calls that ran have an outcome" in out
    assert "1 (1 error)" in out
    assert "- find_order" in out
    code, out = run("trust", log, "--tool", "cancel_*", "--json")
    figures = json.loads(out)
    assert [t["tool"] for t in figures["tools"]] == ["cancel_order"]
    assert figures["gate"]["lower_bound"] == 0.8
    code, out = run("trust", log, "--yaml", "--untrusted", "approve", "--lower-bound", "0.9")
    assert DynaConfig.from_dict({"model": "local:x", **yaml.safe_load(out)}).critic
    assert run("trust", log, "--confidence", "2")[0] == 2


def test_the_command_calibrate(tmp_path: Path) -> None:
    log = written(tmp_path / "log", orders(600))
    code, out = run("calibrate", log, "--threshold", "minimum_confidence")
    assert (code, "confirmed" in out, "minimum_confidence: 0." in out) == (0, True, True)
    code, out = run("calibrate", log, "--precision", "0.999", "--json")
    assert (code, json.loads(out)["proposal"]) == (1, None)
    assert run("calibrate", log, "--precision", "1")[0] == 2


def test_pictures(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    log = written(tmp_path / "log", orders())
    for command in ("trust", "calibrate"):
        run(command, log, "--plot", tmp_path / f"{command}.png")
        assert (tmp_path / f"{command}.png").read_bytes().startswith(b"\x89PNG")
    few = written(tmp_path / "few", [step(1)])
    code, out = run("calibrate", few, "--plot", tmp_path / "c.png")
    assert (code, "there is nothing to draw: 0 older and 0 newer calls" in out) == (1, True)
