"""Study files: the shipped ones, the mistakes that are found in one, and the stages that come of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from dyna_graph.errors import ConfigError
from dyna_training.environments.alfworld.generator import write as write_household
from dyna_training.study.arms import build
from dyna_training.study.settings import ARMS, StudySettings, read_study, shipped_studies

MINIMAL = """\
arms: [dit]
seeds: [0]
environments:
  home:
    train: generated
    teacher: {games: 2}
    evaluate:
      new: {domain: in, split: generated, seed: 7, games: 1}
"""


def write(tmp_path: Path, text: str) -> str:
    file = tmp_path / "study.yaml"
    file.write_text(text)
    return str(file)


def of(**changes: object) -> StudySettings:
    home = {
        "train": "generated",
        "held_out_task_type": "pick_two_obj_and_place",
        "evaluate": {"new": {"domain": "in", "split": "generated", "seed": 7}},
    }
    return StudySettings.model_validate({"environments": {"home": home}, "seeds": [0], **changes})


@pytest.mark.parametrize("name", sorted(shipped_studies()))
def test_shipped_studies_are_valid_and_make_stages(name: str) -> None:
    stages = build(read_study(name))
    assert any(stage.kind == "evaluate" for stage in stages.values())
    trained = [" ".join(c) for s in stages.values() for c in s.commands if c[0] == "train"]
    assert trained
    # What is evaluated out of domain by its task type is in no data that anything is trained on.
    collected = [c for s in stages.values() for c in s.commands if c[0] == "collect" and s.kind != "evaluate"]
    settings = read_study(name)
    for part_name, part in settings.environments.items():
        if part.held_out_task_type is not None:
            for command in collected:
                if f"/stages/{part_name}/" in command[command.index("--out") + 1]:
                    assert command[command.index("--without-task-type") + 1] == part.held_out_task_type


@pytest.mark.parametrize(
    ("change", "line", "message"),
    [
        (("arms: [dit]", "arms: [ditt]"), 1, "did you mean 'dit'"),
        (("seeds: [0]", "seeds: [0, 0]"), 2, "a seed stands twice"),
        (("seeds: [0]", "seeds: [7]"), 8, "households of this seed are trained on"),
        (("seeds: [0]", "recipes: {imitation: {epoch: 2}}"), 2, "did you mean 'epochs'"),
        (("seeds: [0]", "recipes: {imitation: {seed: 2}}"), 2, "'seed' is set by the study itself"),
        (("seeds: [0]", "recipes: {imitation: {method: full}}"), 2, "arms are LoRA adapters"),
        (("seeds: [0]", "recipes: {imitation: {processes: 0}}"), 2, "a whole number ≥ 1"),
        (("seeds: [0]", "recipes: {imitation: {procesess: 2}}"), 2, "did you mean 'processes'"),
        (("seeds: [0]", "recipes: {imitate: {epochs: 2}}"), 2, "did you mean 'imitation'"),
        (("seeds: [0]", "run: 3"), 2, "did you mean 'runs'"),
        (("seeds: [0]", "judge: grouned"), 2, "did you mean 'grounded'"),
        (("seeds: [0]", "annotator: grouned"), 2, "did you mean 'grounded'"),
        (("seeds: [0]", "abbreviator: structual"), 2, "did you mean 'structural'"),
        (("{games: 2}", "{behaviours: [expart]}"), 6, "did you mean 'expert'"),
        (("{games: 2}", "{data: [nowhere]}"), 6, "there is no nowhere"),
        (("{games: 2}", "{data: [.], games: 2}"), 6, "nothing is played for 'games'"),
        (("{games: 2}", "{data: [.]}\n    states: 4"), 7, "plays nothing"),
        (("games: 1", "task_types: held-out"), 8, "there is no held_out_task_type"),
        (("train: generated", "train: dev_seen"), 8, ""),
    ],
)
def test_mistakes_are_named_with_their_line(
    tmp_path: Path, change: tuple[str, str], line: int, message: str
) -> None:
    file = write(tmp_path, MINIMAL.replace(*change))
    if not message:  # another split is fine
        assert read_study(file).environments["home"].train == "dev_seen"
        return
    with pytest.raises(ConfigError) as refused:
        read_study(file)
    assert any(p.line == line and message in p.message for p in refused.value.problems), refused.value


def test_games_that_are_trained_on_cannot_be_evaluated(tmp_path: Path) -> None:
    text = MINIMAL.replace("train: generated", "train: train").replace("split: generated", "split: train")
    with pytest.raises(ConfigError, match="these games are trained on"):
        read_study(write(tmp_path, text))


def test_a_shipped_adapter_knows_the_held_out_task_type(tmp_path: Path) -> None:
    text = MINIMAL.replace(
        "    train: generated", "    held_out_task_type: pick_two_obj_and_place\n    train: generated"
    )
    started = "start: alfworld-policy\n" + text
    read_study(write(tmp_path, started))  # which is only left out
    with pytest.raises(ConfigError, match="alfworld-policy was trained on this task type"):
        read_study(write(tmp_path, started.replace("games: 1", "games: 1, task_types: held-out")))
    read_study(write(tmp_path, "start: alfworld-policy\n" + MINIMAL))


def test_a_phase_says_how_many_processes_train_together(tmp_path: Path) -> None:
    text = MINIMAL.replace("seeds: [0]", "seeds: [0]\nrecipes: {imitation: {processes: 2, accumulate: 1}}")
    [stage] = [s for s in build(read_study(write(tmp_path, text))).values() if s.kind == "imitation"]
    [command] = stage.commands
    assert command[command.index("--processes") + 1] == "2"
    assert "processes=2" not in command
    assert "accumulate=1" in command


def test_no_seed_trains_on_rollouts_in_games_that_were_to_be_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dyna_training.collect import CollectSettings, plan

    games = tmp_path / "json_2.1.1" / "train"
    for seed in range(40):
        write_household(games, seed, "pick_and_place_simple")
    monkeypatch.setenv("ALFWORLD_DATA", str(tmp_path))
    settings = of(arms=["vanilla-dyna"], seeds=[0, 1, 2]).model_dump(mode="json")
    settings["environments"]["home"] |= {
        "train": "train",
        "teacher": {"games": 10},
        "rollouts": {"games": 5, "skip": 10},
        "imagined": {"games": 5, "skip": 15},
    }
    played: dict[str, set[str]] = {}
    for stage in build(StudySettings.model_validate(settings)).values():
        command = stage.commands[0]
        if stage.kind in ("teacher", "rollouts", "imagined"):
            said = {key: int(command[command.index(f"--{key}") + 1]) for key in ("games", "skip", "seed")}
            chosen = plan(CollectSettings(split="train", out=tmp_path, behaviours=("expert",), **said))
            played[stage.name] = {episode.game for episode in chosen}
    assert len(played) == 7
    taught = played.pop("home/teacher")
    assert not any(taught & games for games in played.values())


def test_a_study_that_is_not_there_is_told_from_the_shipped_ones() -> None:
    with pytest.raises(ConfigError, match="did you mean 'dyna-think-smoke'"):
        read_study("dyna-think-smok")


def test_arms_share_what_they_have_in_common() -> None:
    stages = build(of(arms=list(ARMS)))
    kinds = [stage.kind for stage in stages.values()]
    assert kinds.count("teacher") == kinds.count("abbreviated") == kinds.count("rollouts") == 1
    assert kinds.count("imitation") == 4
    assert kinds.count("stage1") == 4
    assert kinds.count("stage2") == 7
    assert kinds.count("evaluate") == len(ARMS) + 1
    critique = stages["home/stage1/ddt-critique/seed0"]
    assert critique.needs == ("home/imitation/dit/seed0", "home/annotated/ddt-critique/seed0")
    assert "home/stage1/ddt-critique/seed0" in stages["home/stage2/ddt-critique/seed0"].needs
    mixed = stages["home/annotated/ddt-mixed/seed0"].commands
    assert [c[c.index("--objective") + 1] for c in mixed] == ["difference", "critique"]
    assert mixed[1][1] == mixed[0][mixed[0].index("--out") + 1]


def test_rft_is_matched_to_both_stages_of_an_arm_that_is_not_in_the_table() -> None:
    stages = build(of(arms=["rft-matched"], matched_to="ddt-difference"))
    command = " ".join(stages["home/stage2/rft-matched/seed0"].commands[0])
    wanted = "{tokens:home/stage1/ddt-difference/seed0+home/stage2/ddt-difference/seed0}"
    assert f"target_tokens={wanted}" in command
    assert "home/evaluate/ddt-difference/new/seed0" not in stages


def test_each_round_goes_on_from_the_newest_policy() -> None:
    stages = build(of(arms=["rft", "ddt-critique"], rounds=2))
    first, second = (stages[f"home/rollouts/round{n}"] for n in ("1/dit/seed0", "2/ddt-critique/seed0"))
    assert first.needs == ("home/imitation/dit/seed0",)
    assert second.needs == ("home/stage2/round1/ddt-critique/seed0",)
    assert stages["home/stage1/round2/ddt-critique/seed0"].needs[0] == "home/stage2/round1/ddt-critique/seed0"
    assert stages["home/evaluate/rft/new/seed0"].needs == ("home/stage2/round2/rft/seed0",)


def test_an_environment_has_arms_and_a_teacher_of_its_own() -> None:
    games = {"new": {"domain": "in", "split": "dev", "games": 1}}
    text = {"environment": "dyna/TextWorld-v0", "arms": ["dit"], "evaluate": games}
    text["teacher"] = {"policy": "openai:gpt-5-mini"}
    settings = of(arms=["rft"]).model_dump(mode="json")
    settings["environments"]["text"] = text
    stages = build(StudySettings.model_validate(settings))
    assert "text/stage2/rft/seed0" not in stages
    assert "home/stage2/rft/seed0" in stages
    command = stages["text/teacher"].commands[0]
    assert command[command.index("--environment") + 1] == "dyna/TextWorld-v0"
    assert command[command.index("--policy") + 1] == "openai:gpt-5-mini"
    assert "--behaviours" not in command


@pytest.mark.parametrize(
    ("by", "said"),
    [("extractive", ["extractive"]), ("openai:gpt-5-mini", ["chat", "--model", "openai:gpt-5-mini"])],
)
def test_a_chat_model_may_shorten(by: str, said: list[str]) -> None:
    [command] = build(of(arms=["dit"], abbreviator=by))["home/abbreviated"].commands
    at = command.index("--method") + 1
    assert list(command[at : at + len(said)]) == said


def test_every_arm_is_asked_in_the_same_states() -> None:
    settings = of(arms=["dit", "rft"]).model_dump(mode="json")
    settings["environments"]["home"]["states"] = 9
    stages = build(StudySettings.model_validate(settings))
    dit, rft = (stages[f"home/foresight/{arm}/seed0"] for arm in ("dit", "rft"))
    assert dit.needs == ("home/imitation/dit/seed0", "home/evaluate/teacher/new")
    assert rft.needs == ("home/stage2/rft/seed0", "home/evaluate/teacher/new")
    [first], [second] = dit.commands, rft.commands
    assert first[4:-1] == second[4:-1]


def test_vanilla_dyna_asks_for_imagined_data_and_nobody_else_does() -> None:
    stages = build(of(arms=list(ARMS)))
    asked = [n for n, s in stages.items() if any("imagined=true" in c for c in s.commands)]
    assert asked == ["home/stage2/vanilla-dyna/seed0"]
    imagined = stages["home/imagined/vanilla-dyna/seed0"].commands[0]
    assert imagined[imagined.index("--imagined") + 1].endswith("world-model/vanilla-dyna/seed0/run/adapter")
    # The world model learns from what the policy saw, not from the hidden state that a collection records.
    assert "privileged=0" in stages["home/world-model/vanilla-dyna/seed0"].commands[0]
