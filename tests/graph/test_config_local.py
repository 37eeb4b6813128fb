"""Local models from a configuration: policy and world model on one set of real, tiny weights."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from langchain_core.messages import AIMessage

from dyna_graph.config import ConfigError, DynaConfig
from dyna_graph.config.build import build_world_model
from dyna_graph.models import resolve_model
from dyna_nodes.experience import ExperienceLog
from dyna_nodes.local import LocalChatModel, get_engine
from dyna_nodes.testing import ScriptedChatModel, call
from dyna_nodes.world_models import TrainedWorldModel

MODELS = Path(__file__).parents[1] / "nodes" / "local"
"""Where the tests of the local model keep their tiny Llama."""


def look(where: str) -> str:
    """Look somewhere."""
    return f"nothing {where}"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a tiny base model and two adapters, one of them for another base."""
    monkeypatch.syspath_prepend(str(MODELS))
    tiny: Any = import_module("tiny_llama")
    base, other = tiny.tiny_base(), tiny.tiny_base(hidden=96)
    base.model.save_pretrained(tmp_path / "base")
    base.tokenizer.save_pretrained(tmp_path / "base")
    tiny.save_adapter(tmp_path / "world", base, 1)
    tiny.save_adapter(tmp_path / "misfit", other, 1)
    return tmp_path


def load(folder: Path, text: str) -> DynaConfig:
    (folder / "dyna.yaml").write_text(text, encoding="utf-8")
    return DynaConfig.from_file(folder / "dyna.yaml")


def test_policy_and_world_model_share_one_base(folder: Path) -> None:
    config = load(
        folder,
        """\
model: {name: local:base, max_tokens: 4, options: {dtype: float32}}
world_model:
  model: {name: local:base+world, options: {dtype: float32}}
  options: {max_new_tokens: 3}
record: log
critique: {on_failure: allow}
""",
    )
    policy = resolve_model(config.model.name, folder=config.folder, **config.model.keywords())
    assert isinstance(policy, LocalChatModel)
    assert isinstance(policy.invoke("hi"), AIMessage)
    world_model = build_world_model(config)
    assert isinstance(world_model, TrainedWorldModel)
    engine = get_engine(str(folder / "base"), "float32")
    assert world_model.engine is engine
    assert policy.load() is engine
    scripted = ScriptedChatModel(script=[call("look", where="here"), "Done."])
    config.build([look], model=scripted).invoke({"messages": [("user", "x")]})
    [transition] = ExperienceLog(folder / "log").read()
    assert transition.observation == "nothing here"
    assert transition.prediction is not None
    assert transition.prediction.model == "local:base+world"
    engine.close()


def test_an_adapter_for_another_base_is_refused_with_its_line(folder: Path) -> None:
    config = load(folder, "model: local:base\nworld_model: local:base+misfit\n")
    with pytest.raises(
        ConfigError, match=r"dyna\.yaml:2: cannot load the adapter in .*misfit: .*another base"
    ):
        config.build([look])


def test_a_folder_that_holds_no_model(folder: Path) -> None:
    (folder / "empty").mkdir()
    config = load(folder, "model: local:base\nworld_model:\n  kind: trained\n  model: local:empty+world\n")
    with pytest.raises(ConfigError, match=r"dyna\.yaml:4: .*empty"):
        config.build([look])


def test_an_option_that_a_local_model_does_not_know(folder: Path) -> None:
    config = load(folder, "mode: shadow\nmodel: {name: local:base, options: {temprature: 1}}\n")
    with pytest.raises(ConfigError, match=r"dyna\.yaml:2: model 'local:base': temprature: .*not permitted"):
        config.build([look])
