"""``dyna demo`` as a user calls it: configuration, models, errors."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from dyna_graph import cli
from dyna_graph.config import DynaConfig
from tests.nodes.local.tiny_llama import save_adapter, tiny_base

CONFIG = """\
model:
  name: local:{0}/base+{0}/policy
  max_tokens: 8
world_model: local:{0}/base+{0}/world-model
critic: household
simulate: {{candidates: 4}}
limits: {{max_steps: 3}}
"""


def dyna(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(cli.app, ["demo", *arguments], prog_name="dyna", env={"COLUMNS": "80"})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a configuration, a tiny base model and two adapters."""
    base = tiny_base()
    base.model.save_pretrained(tmp_path / "base")
    base.tokenizer.save_pretrained(tmp_path / "base")
    for seed, name in enumerate(("policy", "world-model")):
        save_adapter(tmp_path / name, base, seed)
    (tmp_path / "dyna.yaml").write_text(CONFIG.format(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_configuration_of_ones_own_is_played(folder: Path) -> None:
    code, out, err = dyna(
        "--config", "dyna.yaml", "--games", "2", "--seed", "3", "--json", "--candidates", "2"
    )
    assert code == 0
    done = json.loads(out)
    assert done["finished"]
    assert [(g["number"], g["arm"], g["seed"]) for g in done["games"]] == [
        (n, arm, 1_000_000_002 + n) for n in (1, 2) for arm in ("without", "with")
    ]
    for game in done["games"]:
        assert game["outcome"] in ("failure", "truncated"), "random weights solve nothing"
        assert game["policy_tokens"] > 0
        assert Path(game["file"]).is_file()
    assert done["arms"]["with"]["games"] == 2
    assert "imagines 2 candidates per step" in err
    assert (folder / "dyna-demo" / "replay.html").is_file()


def test_adapters_that_are_missing_are_named_with_what_to_do(folder: Path) -> None:
    (folder / "dyna.yaml").write_text(CONFIG.format(folder).replace("policy", "polizy"))
    code, _, err = dyna("--config", "dyna.yaml")
    assert code == 2
    assert err.startswith(f"dyna.yaml:1: no adapter '{folder}/polizy': there is no such folder")
    assert not (folder / "dyna-demo").exists()


def test_the_demos_own_adapters_may_be_missing_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dyna_graph.models.shipped_adapters", dict)
    code, _, err = dyna()
    assert code == 1
    assert "no adapter 'alfworld-policy'" in err
    assert "no adapter 'alfworld-world-model'" in err
    assert "dyna demo --config dyna.yaml" in err


def test_without_torch_the_extra_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.delitem(__import__("sys").modules, "torch")
    monkeypatch.setattr("dyna_graph.models.find_spec", lambda name: None if name == "torch" else found(name))
    code, _, err = dyna("--config", "dyna.yaml")
    assert code == 2
    assert "pip install 'dyna-graph[local]'" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--games", "0"), "greater than or equal to 1"),
        (("--seed", "-1"), "greater than or equal to 0"),
        (("--split", "train"), "'train' is not one of"),
        (("--config", "nowhere.yaml"), "nowhere.yaml"),
    ],
)
def test_wrong_usage_is_refused(folder: Path, arguments: tuple[str, str], said: str) -> None:
    code, _, err = dyna(*arguments)
    assert code == 2
    assert said in " ".join(err.split())


def test_official_games_that_are_missing_are_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALFWORLD_DATA", str(folder))
    code, _, err = dyna("--config", "dyna.yaml", "--split", "dev_unseen")
    assert code == 1
    assert "alfworld-download" in err


def test_the_shipped_configuration_is_what_its_comments_say() -> None:
    from dyna_nodes.codec.policy import POLICY_PROMPT
    from tests.training.test_demo import shipped

    config: DynaConfig = shipped()
    assert config.system_prompt == POLICY_PROMPT
    assert config.simulate.candidates == 4
    settings: Any = config.to_dict()
    assert settings["critic"] == "household"


def test_a_configuration_without_a_world_model_is_refused(folder: Path) -> None:
    (folder / "dyna.yaml").write_text(f"model: local:{folder}/base+{folder}/policy\n")
    code, _, err = dyna("--config", "dyna.yaml")
    assert code == 2
    assert "name one" in err


def test_plain_has_no_escape_codes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    for arguments, escapes in ((("--plain",), False), ((), True)):
        code, out, err = dyna("--config", "dyna.yaml", "--games", "1", *arguments)
        assert code == 0, err
        assert ("\x1b" in out) is escapes
        assert out.isascii() is not escapes


def test_a_picture_of_the_screen(folder: Path) -> None:
    arguments = ("--config", "dyna.yaml", "--games", "1", "--picture", "pictures/demo.svg")
    code, out, _ = dyna(*arguments)
    assert code == 0
    picture = (folder / "pictures" / "demo.svg").read_text()
    shown = " ".join(ElementTree.fromstring(picture).itertext())
    assert set(out.split()) <= set(shown.split())
    assert "http" not in picture.replace("http://www.w3.org", "").replace("https://www.textualize.io", "")
