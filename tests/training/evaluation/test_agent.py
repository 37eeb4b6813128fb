"""The agent evaluation: what the arms choose, what is kept of a killed run, and paired figures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from dyna_nodes.nouns import Action, Decision, History, ImaginedStep, Prediction, Simulation
from dyna_training.evaluation import agent
from dyna_training.evaluation.agent import ARMS, AgentEvaluation, GameOutcome, append_outcome, read_outcomes
from dyna_training.evaluation.controls import LogProbabilityCritic, MajorityCritic, RandomCritic
from dyna_training.tools import environment_tools

HISTORY = History(task="t")


def proposed(commands: Sequence[str], log_probabilities: Sequence[float | None] = ()) -> list[Simulation]:
    given = log_probabilities or [None] * len(commands)
    return [
        Simulation(
            candidate=i,
            call_id=str(i),
            steps=(ImaginedStep(action=Action.command(c), prediction=Prediction()),),
            log_probability=p,
        )
        for i, (c, p) in enumerate(zip(commands, given, strict=True))
    ]


def outcome(arm: str, game: str, success: bool, **more: Any) -> GameOutcome:
    given = {
        "key": f"{arm}-{game}",
        "arm": arm,
        "game": game,
        "task_type": "look",
        "success": success,
        "steps": 5,
    }
    return GameOutcome.model_validate(given | more)


def test_the_most_probable_candidate_scores_highest() -> None:
    scores = [v.score for v in LogProbabilityCritic().judge(HISTORY, proposed("abc", [-3.0, -1.0, -2.0]))]
    assert scores == [-3.0, -1.0, -2.0]
    with pytest.raises(ValueError, match="logprobs"):
        LogProbabilityCritic().judge(HISTORY, proposed("ab"))


def test_the_majority_scores_highest() -> None:
    assert [v.score for v in MajorityCritic().judge(HISTORY, proposed("aba"))] == [2 / 3, 1 / 3, 2 / 3]


def test_chance_is_fair_and_repeatable() -> None:
    def pick(number: int) -> int:
        verdicts = RandomCritic(0).judge(HISTORY.model_copy(update={"task": str(number)}), proposed("abcd"))
        return max(range(4), key=lambda i: verdicts[i].score or 0.0)

    picks = [pick(n) for n in range(400)]
    assert picks == [pick(n) for n in range(400)]
    assert all(70 <= picks.count(i) <= 130 for i in range(4)), "each candidate about 100 times"


def test_outcomes_survive_a_killed_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "runs" / "games.jsonl"
    append_outcome(file, outcome("greedy", "a", True))
    with file.open("ab") as handle:
        handle.write(b'{"key": "greedy-b", "arm": "gre')
    append_outcome(file, outcome("greedy", "c", False))
    assert [o.game for o in read_outcomes(file)] == ["a", "c"]
    assert "games.jsonl:2" in caplog.text
    assert read_outcomes(tmp_path / "nothing.jsonl") == []


def test_keys_cover_what_an_outcome_depends_on(tmp_path: Path) -> None:
    for name in ("policy", "model", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "adapter_model.safetensors").write_text(name)
    settings = AgentEvaluation(policy=tmp_path / "policy", world_model=tmp_path / "model")
    other = settings.model_copy(update={"world_model": tmp_path / "other"})
    warmer = settings.model_copy(update={"temperature": 0.5})
    forgetful = settings.model_copy(update={"memory": "actions"})
    game = Path("split/task/trial/game.tw-pddl")
    for arm in ARMS:
        key = agent._key(settings, arm, game)
        assert (key == agent._key(other, arm, game)) == (arm not in agent.TRAINED)
        assert key != agent._key(warmer, arm, game)
        assert key != agent._key(forgetful, arm, game)
        assert key != agent._key(settings, arm, Path("split/task/trial-2/game.tw-pddl"))
        assert key != agent._key(settings.model_copy(update={"resample": 8}), arm, game)
    assert len({agent._key(settings, arm, game) for arm in ARMS}) == len(ARMS)


@pytest.mark.parametrize("resample", [0, 8])
def test_only_what_may_be_drawn_anew_is_rejected(resample: int, tmp_path: Path) -> None:
    settings = AgentEvaluation(policy=tmp_path, resample=resample)
    nothing = "Nothing happens."
    step = ImaginedStep(
        action=Action.command("go"), prediction=Prediction(observation=nothing, success=False)
    )
    history = HISTORY.then(step.action, nothing)
    for name in ("rules", "oracle"):
        critic = agent.build(settings, name, environment_tools("dyna/ALFWorld-v0")).critic
        assert critic is not None
        [verdict] = critic.judge(history, [Simulation(candidate=0, call_id="0", steps=(step,))])
        assert (verdict.decision is Decision.REJECT) == bool(resample)


def test_an_arm_without_its_world_model_says_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'trained' needs a trained world model"):
        agent.build(AgentEvaluation(policy=tmp_path), "trained", [])
