"""Write docs/reference/api.md: the public names by module, one line each, from their docstrings.

    python docs/generate_api.py

Sources are read, not imported, so that nothing needs to be installed.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reference" / "api.md"
PLACES = {
    "dyna_graph": ROOT / "dyna_graph",
    "dyna_nodes": ROOT / "nodes" / "dyna_nodes",
    "dyna_training": ROOT / "training" / "dyna_training",
}
SECTIONS: dict[str, dict[str, str]] = {
    "Agents and configuration": {
        "dyna_graph": "",
        "dyna_graph.middleware": "",
        "dyna_graph.config": "DynaConfig Problem schema_text",
        "dyna_graph.models": "resolve_model check_model parse_model find_adapter shipped_adapters ModelName",
        "dyna_graph.checkpoints": "",
        "dyna_graph.plugins": "plugin_names load_plugin",
    },
    "Nouns and protocols": {"dyna_nodes.nouns": "", "dyna_nodes.protocols": ""},
    "The loop": {
        "dyna_nodes.core": "DynaCore session_of",
        "dyna_nodes.simulate": "SimulateNode",
        "dyna_nodes.critique": "CritiqueNode",
        "dyna_nodes.act": "ActNode",
        "dyna_nodes.observe": "ObserveNode",
        "dyna_nodes.state": "DynaState DynaInput DynaOutput Ended Ending",
        "dyna_nodes.settings": "",
        "dyna_nodes.events": "",
        "dyna_nodes.journal": "IntentJournal Intent JournalError",
    },
    "World models and critics": {
        "dyna_nodes.world_models": "",
        "dyna_nodes.critics": "",
        "dyna_nodes.critics.mechanisms": "known_no_effect loop predicted_no_effect predicted_success predicted_value "
        "repeated_observation",
        "dyna_nodes.trust": "Tally Estimate estimate merge tally",
        "dyna_nodes.scoring": "",
        "dyna_nodes.inner": "",
    },
    "Experience": {"dyna_nodes.experience": "", "dyna_graph.reliability": "", "dyna_graph.harvest": ""},
    "Text formats": {
        "dyna_nodes.codec": "",
        "dyna_nodes.codec.policy": "",
        "dyna_nodes.codec.objectives": "",
        "dyna_nodes.codec.messages": "",
        "dyna_nodes.codec.outcome": "Outcome answer_text parse_answer",
    },
    "Local and served models": {"dyna_nodes.local": "", "dyna_nodes.served": ""},
    "Tests of your own": {"dyna_nodes.testing": ""},
    "Environments": {
        "dyna_training.environments": "",
        "dyna_training.environments.alfworld": "",
        "dyna_training.environments.alfworld.generator": "generate write solve",
        "dyna_training.environments.textworld": "",
        "dyna_training.environments.adapted": "AdaptedEnv NotReplayed",
        "dyna_training.environments.boards": "",
        "dyna_training.environments.maze": "",
        "dyna_training.environments.scienceworld": "",
        "dyna_training.environments.sokoban": "",
        "dyna_training.environments.taxi": "",
        "dyna_training.environments.miniwob": "",
        "dyna_training.environments.webshop": "",
        "dyna_training.environments.bfcl": "",
        "dyna_training.environments.connectors": "",
        "dyna_training.environments.catalogue": "Catalogue TooFewGames catalogue",
        "dyna_training.tools": "environment_tools task_message EnvironmentTool make_environment",
        "dyna_training.world_models": "",
    },
    "Training and evaluation": {
        "dyna_training.collect": "collect CollectSettings",
        "dyna_training.collection": "CollectError",
        "dyna_training.behaviours": "mixture mixture_digest",
        "dyna_training.rollouts": "play return_to_go",
        "dyna_training.data": "",
        "dyna_training.store.source": "",
        "dyna_training.store.converting": "",
        "dyna_training.store.parquet": "ParquetWriter About read_about read_parquet",
        "dyna_training.store.filtering": "",
        "dyna_training.store.duplicates": "Duplicates content_digest step_digests REPEATED",
        "dyna_training.store.splitting": "split assign",
        "dyna_training.store.sharing": "contents shared Contents Shared",
        "dyna_training.store.statistics": "statistics",
        "dyna_training.store.migrating": "",
        "dyna_training.store.exporting": "export",
        "dyna_training.store.importing": "import_chats",
        "dyna_training.store.chat": "ChatSettings",
        "dyna_training.store.problems": "",
        "dyna_training.traces.importing": "import_traces ImportSettings TracesError",
        "dyna_training.traces.abbreviating": "abbreviate AbbreviateSettings",
        "dyna_training.traces.abbreviator": "Abbreviator Abbreviation Turn invalid turns_of",
        "dyna_training.traces.extractive": "ExtractiveAbbreviator Limits Part",
        "dyna_training.traces.chat_abbreviator": "ChatAbbreviator",
        "dyna_training.annotate.annotating": "annotate annotate_trajectory make_annotator",
        "dyna_training.annotate.annotator": "Annotation Annotator AnnotatorError turns_to_annotate",
        "dyna_training.annotate.chat": "ChatAnnotator",
        "dyna_training.annotate.folder": "AnnotateSettings AnnotateError",
        "dyna_training.recipes": "",
        "dyna_training.evaluation.agent": "evaluate AgentEvaluation GameOutcome",
        "dyna_training.evaluation.world_model": "evaluate",
        "dyna_training.evaluation.thinking": "",
        "dyna_training.evaluation.thinking.run": "evaluate ThinkingEvaluation",
        "dyna_training.evaluation.statistics": "Bootstrap Interval",
    },
}
"""The modules that are meant to be imported from, by subject, with the names that are meant; all when empty."""
HEAD = """# API

The names to import, one line each, with what they are called with (`=`: has a default). Their docstrings say the rest
(`help(create_dyna_agent)`). What is not here may change without notice.

<!-- made by docs/generate_api.py -->
"""


class Name(NamedTuple):
    """A public name, the first sentence about it, and what it is called with."""

    name: str
    about: str
    call: str = ""


def source(module: str) -> Path:
    """Return the file of a module or package."""
    package, *parts = module.split(".")
    path = PLACES[package].joinpath(*parts)
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def parsed(module: str) -> ast.Module:
    """Return the syntax tree of a module."""
    return ast.parse(source(module).read_text(encoding="utf-8"))


def first_sentence(text: str | None) -> str:
    """Return the first sentence of a docstring."""
    paragraph = " ".join((text or "").strip().partition("\n\n")[0].split())
    end = paragraph.find(". ")
    return (paragraph if end < 0 else paragraph[: end + 1]).replace("``", "`").replace("|", "\\|")


def defined(tree: ast.Module) -> Iterator[Name]:
    """Yield what a module defines itself and documents, in its order."""
    for node, following in zip(tree.body, [*tree.body[1:], None], strict=True):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield Name(name, first_sentence(ast.get_docstring(node)), call(node.args))
            case ast.ClassDef(name=name):
                made = next(
                    (n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"), None
                )
                about = first_sentence(ast.get_docstring(node))
                yield Name(name, about, "" if made is None else call(made.args, method=True))
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
                    yield Name(name, first_sentence(str(following.value.value)))


def call(given: ast.arguments, *, method: bool = False) -> str:
    """Return the names of arguments in brackets; those with a default have ``=`` behind them."""
    plain = [*given.posonlyargs, *given.args]
    defaults: list[ast.expr | None] = [None] * (len(plain) - len(given.defaults)) + list(given.defaults)
    found = [f"{a.arg}=" if d else a.arg for a, d in zip(plain, defaults, strict=True)][int(method) :]
    if given.vararg:
        found.append(f"*{given.vararg.arg}")
    elif given.kwonlyargs:
        found.append("*")
    found += [f"{a.arg}=" if d else a.arg for a, d in zip(given.kwonlyargs, given.kw_defaults, strict=True)]
    if given.kwarg:
        found.append(f"**{given.kwarg.arg}")
    return f"({', '.join(found)})"


def exported(tree: ast.Module) -> list[str] | None:
    """Return the names in ``__all__``; None without one."""
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id="__all__")], value=value):
                return [str(name) for name in ast.literal_eval(value)]
    return None


def chosen(module: str, wanted: str) -> list[Name]:
    """Return the names of a module that are meant to be imported.

    Args:
        module: The module.
        wanted: Their names, with spaces between them; all public ones when empty.

    Raises:
        LookupError: The module has no such name.
    """
    found = names(module)
    if not wanted:
        return found
    by_name = {name.name: name for name in found}
    missing = set(wanted.split()) - set(by_name)
    if missing:
        raise LookupError(f"{module} has no public {sorted(missing)[0]!r}")
    return [by_name[name] for name in wanted.split()]


def names(module: str) -> list[Name]:
    """Return the public names of a module; of a package, those that it exports.

    Raises:
        LookupError: A package exports a name that is nowhere defined.
    """
    tree = parsed(module)
    own = {name.name: name for name in defined(tree)}
    shown = exported(tree)
    if shown is None:
        return [name for name in own.values() if not name.name.startswith("_")]
    homes = {
        alias.asname or alias.name: (node.module, alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }
    return [own.get(name) or _elsewhere(module, name, homes) for name in sorted(shown, key=str.lower)]


def _elsewhere(module: str, name: str, homes: dict[str, tuple[str, str]]) -> Name:
    if name not in homes:
        if any(_assigns(node, name) for node in parsed(module).body):
            return Name(name, "")
        raise LookupError(f"{module} exports {name!r}, which is nowhere defined")
    home, original = homes[name]
    if home.partition(".")[0] not in PLACES:
        return Name(name, f"From `{home}`.")
    tree = parsed(home)
    found = {n.name: n for n in defined(tree)}.get(original)
    if found is not None:
        return found._replace(name=name)
    if any(_assigns(node, original) for node in tree.body):
        return Name(name, "")
    return next(n for n in names(home) if n.name == original)._replace(name=name)


def _assigns(node: ast.stmt, name: str) -> bool:
    match node:
        case ast.Assign(targets=[ast.Name(id=found)]) | ast.AnnAssign(target=ast.Name(id=found)):
            return found == name
    return False


def page() -> str:
    """Return the text of the page."""
    parts = [HEAD]
    for title, modules in SECTIONS.items():
        parts.append(f"\n## {title}\n")
        for module, wanted in modules.items():
            about = first_sentence(ast.get_docstring(parsed(module)))
            rows = [
                f"| `{n.name}`{f' `{n.call}`' if n.call else ''} | {n.about} |\n"
                for n in chosen(module, wanted)
            ]
            parts.append(f"\n### `{module}`\n\n{about}\n\n| name | |\n|---|---|\n{''.join(rows)}")
    return "".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE}")
