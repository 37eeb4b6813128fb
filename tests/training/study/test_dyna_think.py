"""`dyna study dyna-think`: the table of what is finished; slow: from end to end, with a tiny random model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dyna_graph.errors import DynaError
from dyna_nodes.experience import write_trajectory
from dyna_nodes.nouns import Trajectory
from dyna_training.cli.data import app as data
from dyna_training.cli.study import OUT_OF_TIME, app
from dyna_training.data import read_trajectories
from dyna_training.environments.alfworld.generator import generate
from dyna_training.evaluation.thinking import Judgement, judged_turns
from dyna_training.evaluation.thinking.cache import LineCache
from dyna_training.evaluation.thinking.judges import JUDGEMENTS, CachedJudge
from dyna_training.rollouts import play
from dyna_training.study.arms import build
from dyna_training.study.settings import read_study
from dyna_training.study.stages import Stage, StageFolder, made_from, resolve
from tests.nodes.local.tiny_llama import tiny_model, tiny_tokenizer

STUDY = """\
study: dyna-think
base: {base}
arms: [dit]
seeds: [0]
runs: 2
max_steps: 3
max_tokens: 12
stage_minutes: 0.001
recipes:
  imitation: {{epochs: 1, rank: 2, max_tokens: 4000}}
environments:
  home:
    train: generated
    held_out_task_type: pick_two_obj_and_place
    teacher: {{games: 3}}
    evaluate:
      new: {{domain: in, split: generated, seed: 7, games: 2}}
"""


def study(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["dyna-think", *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    tiny_model(hidden=24, max_position_embeddings=8192).save_pretrained(folder / "base")
    tiny_tokenizer().save_pretrained(folder / "base")
    file = folder / "study.yaml"
    file.write_text(STUDY.format(base=folder / "base"))
    return file


class Half:
    """Finds a simulation in every thinking, and every other one right."""

    name = "openai:judge"

    def judge(self, trajectory: Trajectory, indices: Sequence[int]) -> list[Judgement]:
        return [Judgement(judge=self.name, simulated=True, correct=index % 2 == 0) for index in indices]


def finish(out: Path, stages: dict[str, Stage], name: str, trajectories: list[Trajectory]) -> None:
    """Write a stage as it stands when it has run."""
    folder = StageFolder(out, stages[name])
    folder.product.mkdir(parents=True)
    file = folder.product / "0.jsonl"
    if folder.stage.kind == "judged":
        judged_turns(trajectories, CachedJudge(Half(), LineCache(folder.product / JUDGEMENTS)))
    elif folder.stage.product == "data":
        for trajectory in trajectories:
            write_trajectory(file, trajectory)
    else:
        (folder.product / "adapter_model.safetensors").write_bytes(b"weights")
        metrics = {"target_tokens_seen": 9, "hardware": "CPU", "selection": {"kept": len(trajectories)}}
        (folder.product.parent / "metrics.json").write_text(json.dumps(metrics))
    source = made_from(folder.stage, {n: StageFolder(out, stages[n]).contents() for n in folder.stage.needs})
    folder.write(**{"from": source}, state="finished", seconds=2.0, content=folder.contents())


def test_the_table_of_what_is_finished(config: Path, tmp_path: Path) -> None:
    out = tmp_path / "study"
    given = ("--config", str(config), "--out", str(out))
    stages = build(read_study(str(config)))
    games = [generate(s) for s in (7_000_000, 7_000_001)]
    taught = [play(g, "teacher", seed=s) for g in games for s in (7, 8)]
    finish(out, stages, "home/teacher", taught)
    finish(out, stages, "home/evaluate/teacher/new", taught)
    finish(out, stages, "home/abbreviated", taught)
    code, said = study(*given, "--report")
    assert code == 0
    assert "Not finished: 3 of 5 stages are" in said
    finish(out, stages, "home/imitation/dit/seed0", taught)
    # A policy that never acts, beside one game in which it does as the teacher.
    silent = [t.model_copy(update={"transitions": (), "outcome": "failure"}) for t in taught]
    for played, turns in ((silent, 0), ([taught[0], *silent[1:]], len(taught[0].transitions))):
        shutil.rmtree(out / "stages/home/evaluate/dit", ignore_errors=True)
        finish(out, stages, "home/evaluate/dit/new/seed0", played)
        code, said = study(*given, "--report", "--json")
        assert code == 0, said
        results = json.loads((out / "results.json").read_text())
        row = results["parts"]["home"]["rows"]["dit"]
        assert results["complete"]
        assert row["all"]["success"]["value"] == (0.25 if turns else 0)
        assert row["all"]["best"]["value"] == (0.5 if turns else 0)
        assert row["all"]["steps"]["value"] == turns / 4
        assert row["data"] == {"policy": 4, "world_model": 0, "target_tokens": 9}
        assert (row["r"] is None) == (turns == 0)
    teacher = results["parts"]["home"]["rows"]["teacher"]
    assert teacher["all"]["coverage"]["value"] == 1
    assert "| dit | 4, – | 25.0%" in (out / "report.md").read_text()


def thinking_freely(trajectory: Trajectory) -> Trajectory:
    steps = tuple(s.model_copy(update={"thought": "Hm, that will work."}) for s in trajectory.transitions)
    return trajectory.model_copy(update={"transitions": steps})


def test_thinking_in_another_form_is_judged_by_a_chat_model(config: Path, tmp_path: Path) -> None:
    """In stages of their own: the table asks nobody, and has no row for plays that were not judged yet."""
    mine = config.with_name("judged.yaml")
    mine.write_text("judge: openai:judge\n" + config.read_text())
    out = tmp_path / "study"
    given = ("--config", str(mine), "--out", str(out))
    stages = build(read_study(str(mine)))
    [command] = stages["home/judged/dit/new/seed0"].commands
    assert command[command.index("--judge") + 1] == "openai:judge"
    games = [generate(s) for s in (7_000_000, 7_000_001)]
    taught = [thinking_freely(play(game, "teacher", seed=7)) for game in games]
    before = ("teacher", "evaluate/teacher/new", "abbreviated", "imitation/dit/seed0")
    for name in (*before, "evaluate/dit/new/seed0"):
        finish(out, stages, f"home/{name}", taught)
    assert study(*given, "--report")[0] == 0
    assert json.loads((out / "results.json").read_text())["parts"]["home"]["rows"] == {}
    finish(out, stages, "home/judged/teacher/new", taught)
    finish(out, stages, "home/judged/dit/new/seed0", taught)
    assert study(*given, "--report")[0] == 0
    row = json.loads((out / "results.json").read_text())["parts"]["home"]["rows"]["dit"]["all"]
    assert row["coverage"]["value"] == 1
    assert 0.4 < row["accuracy"]["value"] < 0.8
    # Who never acts leaves nothing to judge, and has a row all the same.
    silent = [t.model_copy(update={"transitions": (), "outcome": "failure"}) for t in taught]
    for stage in ("evaluate", "judged"):
        shutil.rmtree(out / "stages/home" / stage / "dit")
    finish(out, stages, "home/evaluate/dit/new/seed0", silent)
    assert study(*given, "--report")[0] == 0
    row = json.loads((out / "results.json").read_text())["parts"]["home"]["rows"]["dit"]["all"]
    assert row["success"]["value"] == 0


def test_a_teacher_that_only_left_its_traces(config: Path, tmp_path: Path) -> None:
    """They are taken over, and what arms play is held against them: nobody planned that no game is in both."""
    left, out = tmp_path / "left.jsonl", tmp_path / "study"
    games = {name: generate(seed) for name, seed in (("imitated", 5_000_000), ("new", 7_000_000))}
    played = {name: thinking_freely(play(game, "teacher", seed=7)) for name, game in games.items()}
    write_trajectory(left, played["imitated"])
    mine = config.with_name("left.yaml")
    text = config.read_text().replace("{games: 3}", f"{{data: [{left}]}}")
    mine.write_text("abbreviator: extractive\n" + text)
    given = ("--config", str(mine), "--out", str(out))
    assert study(*given, "--until", "*/abbreviated")[0] == 0
    stages = build(read_study(str(mine)))
    for taken in ("home/teacher", "home/abbreviated"):
        assert len(list(read_trajectories([StageFolder(out, stages[taken]).product]))) == 1

    finish(out, stages, "home/imitation/dit/seed0", [])
    evaluated = stages["home/evaluate/dit/new/seed0"]
    check = resolve(evaluated.commands[-1], out, stages)[2:]
    for name, leaks in (("new", 0), ("imitated", 1)):
        shutil.rmtree(StageFolder(out, evaluated).path, ignore_errors=True)
        finish(out, stages, evaluated.name, [played[name]])
        assert CliRunner().invoke(data, ["check", *check]).exit_code == leaks
    assert study(*given, "--report")[0] == 0
    assert list(json.loads((out / "results.json").read_text())["parts"]["home"]["rows"]) == ["dit"]


@pytest.mark.slow
def test_a_study_from_the_teacher_to_the_table(config: Path, tmp_path: Path) -> None:
    given = ("--config", str(config), "--out", str(tmp_path / "study"))
    code, listed = study(*given, "--list", "--json")
    assert code == 0
    assert [k["state"] for k in json.loads(listed).values()] == [
        "ready",
        "ready",
        "waiting",
        "waiting",
        "waiting",
    ]
    code, said = study(*given, "--minutes", "0")
    assert code == OUT_OF_TIME
    assert "0 of 5 stages are finished" in said

    record = tmp_path / "docs" / "dyna-think.md"
    code, said = study(*given, "--record", str(record))
    assert code == 0, said
    results = json.loads((tmp_path / "study" / "results.json").read_text())
    assert results["complete"]
    assert results["underpowered"]
    rows = results["parts"]["home"]["rows"]
    assert list(rows) == ["teacher", "dit"]
    assert rows["teacher"]["all"]["coverage"]["value"] == 1  # the teacher simulates every action
    assert rows["dit"]["in"]["success"]["games"] == 2
    assert all(stage["over"] for stage in results["stages"])
    assert {f.name for f in record.parent.iterdir()} == {
        "dyna-think.md",
        "dyna-think_home_success.png",
        "dyna-think_home_accuracy.png",
    }
    assert "Underpowered" in record.read_text()

    code, listed = study(*given, "--list")
    assert code == 0
    assert "5 of 5 stages finished" in listed
    assert "over 0.001 min" in listed
    changed = config.with_name("changed.yaml")
    changed.write_text(config.read_text().replace("games: 3", "games: 4"))
    with pytest.raises(DynaError, match="--games 3, the configuration now says --games 4"):
        study("--config", str(changed), *given[2:])
    code, commands = study(*given, "--commands")
    assert code == 0
    assert f"dyna train policy --config dit --set base={config.parent / 'base'}" in commands


def test_stages_are_named_by_globs(config: Path, tmp_path: Path) -> None:
    given = ("--config", str(config), "--out", str(tmp_path / "study"))
    code, said = study(*given, "--only", "*/teacher")
    assert code == 0
    assert "home/teacher: finished" in said
    assert "Not finished: 1 of 5 stages are" in said
    with pytest.raises(DynaError, match="no stage is named"):
        study(*given, "--until", "nothing")
