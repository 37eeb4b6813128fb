"""Plugins: found by name, loaded when used, explained when missing."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dyna_graph.errors import PluginError
from dyna_graph.plugins import (
    COMMANDS,
    ENVIRONMENTS,
    WORLD_MODELS,
    entry_point,
    how_to_install,
    load_plugin,
    plugin_names,
)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A distribution with plugins, as pip would install it: metadata and modules on the path."""
    info = tmp_path / "acme_worlds-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: acme-worlds\nVersion: 1.0\nProvides-Extra: physics\n"
        'Requires-Dist: acme_physics>=2; extra == "physics"\n'
    )
    (info / "top_level.txt").write_text("acme_worlds\n")
    (info / "entry_points.txt").write_text(
        "[dyna_graph.world_models]\n"
        "acme = acme_worlds:World\n"
        "broken = acme_worlds.broken:World\n"
        "gone = acme_worlds.gone:World\n"
        "heavy = acme_worlds.heavy:World\n"
        "nameless = acme_worlds:Nothing\n"
    )
    package = tmp_path / "acme_worlds"
    package.mkdir()
    (package / "__init__.py").write_text("class World:\n    name = 'acme'\n")
    (package / "broken.py").write_text("raise RuntimeError('no licence found')\n")
    (package / "heavy.py").write_text("import acme_physics\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    from dyna_graph import plugins

    plugins._points.cache_clear()
    yield tmp_path
    plugins._points.cache_clear()
    for name in [m for m in sys.modules if m.startswith("acme_worlds")]:
        del sys.modules[name]


@pytest.mark.usefixtures("installed")
def test_a_plugin_is_loaded_by_name() -> None:
    assert "acme" in plugin_names(WORLD_MODELS)
    assert load_plugin(WORLD_MODELS, "acme").name == "acme"


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("acm", "unknown world model 'acm'; did you mean 'acme'?"),
        ("broken", "'broken' (acme_worlds.broken:World) cannot be loaded: RuntimeError: no licence found"),
        (
            "gone",
            "'gone' (acme_worlds.gone:World) cannot be loaded: its module 'acme_worlds.gone' does not exist; "
            "reinstall acme-worlds",
        ),
        (
            "heavy",
            "'heavy' (acme_worlds.heavy:World) cannot be loaded: acme_physics is missing: "
            "pip install 'acme-worlds[physics]'",
        ),
    ],
)
def test_what_is_wrong_with_a_plugin(name: str, message: str) -> None:
    with pytest.raises(PluginError) as caught:
        load_plugin(WORLD_MODELS, name)
    assert str(caught.value) == message


@pytest.mark.usefixtures("installed")
def test_a_plugin_that_announces_what_its_module_lacks() -> None:
    with pytest.raises(PluginError, match=r"'nameless' .* cannot be loaded: AttributeError: .*Nothing"):
        load_plugin(WORLD_MODELS, "nameless")


def test_the_projects_own_plugins_are_announced() -> None:
    assert "environment" in plugin_names(WORLD_MODELS)
    assert {"collect", "train", "eval", "demo"} <= set(plugin_names(COMMANDS))
    assert entry_point(ENVIRONMENTS, "dyna/ALFWorld-v0").module.startswith("dyna_training.")


def test_an_unknown_plugin_with_nothing_near_lists_the_installed_ones() -> None:
    with pytest.raises(PluginError, match=r"unknown environment 'zzz'; installed: .*dyna/ALFWorld-v0"):
        load_plugin(ENVIRONMENTS, "zzz")


@pytest.mark.parametrize(
    ("package", "command"),
    [
        ("torch", "pip install 'dyna-graph[local]'"),
        ("gymnasium", "pip install 'dyna-graph[environments]'"),
        ("matplotlib", "pip install 'dyna-graph[training]'"),
        ("langchain_openai", "pip install 'dyna-graph[vllm]'"),
    ],
)
def test_how_to_install(package: str, command: str) -> None:
    assert how_to_install(package) == command
