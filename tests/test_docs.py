"""What the documentation says is true: links lead somewhere, snippets run, commands and keys exist.

A snippet that cannot run here says why in a comment before it: ``<!-- not run: needs a key -->``; one that loads a
language model says ``<!-- slow: … -->``. A block of text right after a snippet is what the snippet prints.
"""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import io
import re
import shlex
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest
import yaml

from dyna_graph import DynaConfig
from dyna_training.study.settings import StudySettings

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]
BLOCK = re.compile(
    r"^(?:<!-- (?P<mark>not run|slow): [^\n]+ -->\n)?```(?P<kind>\w*)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
LINK = re.compile(r"(?<!!)\[[^\]]+\]\(([^)\s]+)\)")
INLINE = re.compile(r"`(dyna [a-z][^`]*)`")


class Block(NamedTuple):
    """A fenced block: what stands before it, its language, its text, and its first line in the page."""

    mark: str
    kind: str
    code: str
    line: int
    start: int
    end: int


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(m["mark"] or "", m["kind"], m["code"], text.count("\n", 0, m.start("code")), m.start(), m.end())
        for m in BLOCK.finditer(text)
    ]


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


def python_pages(mark: str | None = None) -> list[Path]:
    """Return the pages with snippets; with a mark, those with a snippet that bears it."""
    return [
        p for p in PAGES if any(b.kind == "python" and (mark is None or b.mark == mark) for b in blocks(p))
    ]


def generator(name: str) -> ModuleType:
    """Import a script of the folder docs."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


# Links


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(BLOCK.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"https?://|mailto:", link):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), f"{named(page)}: {link} leads nowhere"
        assert not anchor or anchor in anchors(target), f"{named(page)}: {link}: no such heading"


def test_every_page_is_on_the_map() -> None:
    index = DOCS / "index.md"
    linked = {(DOCS / link).resolve() for link in LINK.findall(index.read_text(encoding="utf-8"))}
    missing = [
        named(p)
        for p in DOCS.rglob("*.md")
        if p != index
        and p.resolve() not in linked
        and not any(q in linked for q in p.resolve().parents if q != DOCS)
    ]
    assert not missing


# Snippets


def run_snippets(page: Path, *, slow: bool) -> None:
    """Run the snippets of a page one after the other, and compare what they print with what the page says."""
    text, found = page.read_text(encoding="utf-8"), blocks(page)
    space: dict[str, Any] = {"__name__": "snippet"}
    for block, following in zip(found, [*found[1:], None], strict=True):
        if block.kind != "python":
            continue
        code = compile("\n" * block.line + block.code, str(page), "exec")
        if block.mark == "not run" or (block.mark == "slow" and not slow):
            continue
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(code, space)
        promised = ""
        if (
            following is not None
            and following.kind == "text"
            and not text[block.end : following.start].strip()
        ):
            promised = following.code
        assert printed.getvalue().rstrip() == promised.rstrip(), f"{named(page)}:{block.line}"


@pytest.mark.parametrize("page", python_pages(), ids=named)
def test_snippets_run_and_print_what_the_page_says(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run_snippets(page, slow=False)


@pytest.mark.slow  # these load a language model of 135M parameters
@pytest.mark.parametrize("page", python_pages("slow"), ids=named)
def test_snippets_with_a_language_model_run(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run_snippets(page, slow=True)


def test_a_snippet_that_prints_something_else_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text("```python\nprint(1 + 1)\n```\n\n```text\n3\n```\n")
    with pytest.raises(AssertionError, match=r"page\.md:1"):
        run_snippets(page, slow=False)
    page.write_text("```python\nprint(1 + 1)\n```\n\n```text\n2\n```\n")
    run_snippets(page, slow=False)


# Names, keys, commands


def test_what_snippets_import_is_on_the_page_of_names() -> None:
    api = (DOCS / "reference" / "api.md").read_text(encoding="utf-8")
    sections = {
        m[1]: m[2] for m in re.finditer(r"^### `([\w.]+)`\n(.*?)(?=^##|\Z)", api, re.MULTILINE | re.DOTALL)
    }
    for page in python_pages():
        for block in blocks(page):
            if block.kind != "python":
                continue
            for node in ast.walk(ast.parse(block.code)):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dyna_"):
                    for alias in node.names:
                        where = f"{named(page)}:{block.line}: {alias.name} from {node.module}"
                        assert f"| `{alias.name}` " in sections.get(node.module or "", ""), where


@pytest.mark.parametrize("page", [p for p in PAGES if any(b.kind == "yaml" for b in blocks(p))], ids=named)
def test_yaml_is_valid(page: Path) -> None:
    for block in blocks(page):
        if block.kind == "yaml" and block.mark != "not run":
            data = yaml.safe_load(block.code)
            if "study" in data:
                StudySettings.model_validate(data)
                continue
            assert set(data) <= set(DynaConfig.model_fields), f"{named(page)}:{block.line}"
            DynaConfig.from_dict({"model": "openai:gpt-5-mini", **data})


def commands_in(text: str) -> list[str]:
    """Return the commands of a page, in blocks and between the lines."""
    fenced = [m["code"] for m in BLOCK.finditer(text) if m["kind"] in ("", "console", "bash", "sh")]
    lines = [line.strip().removeprefix("$ ") for code in fenced for line in code.splitlines()]
    return [line for line in lines if re.match(r"dyna [a-z]", line)] + INLINE.findall(BLOCK.sub("", text))


def problem_with(line: str, known: dict[str, set[str]]) -> str | None:
    """Return what is wrong with a command; None when nothing is."""
    words = shlex.split(line.partition(" #")[0])
    name = next((n for n in (" ".join(words[:i]) for i in (3, 2)) if n in known), None)
    if name is None:
        return f"there is no command {' '.join(words[:2])!r}"
    members = [other for other in known if other.startswith(f"{name} ")]
    if members and len(words) > 2 and re.fullmatch(r"[a-z][\w-]*", words[2]):
        return f"{name!r} has no command {words[2]!r}"
    allowed = known[name] | {"--help"} | {option for member in members for option in known[member]}
    wrong = [word for word in words if word.startswith("-") and word.partition("=")[0] not in allowed]
    return f"{name!r} has no option {wrong[0]!r}" if wrong else None


def test_commands_exist_with_their_options() -> None:
    commands = generator("generate_commands")
    known = {c.name: {n for o in commands.options(c.function) for n in o.names} for c in commands.commands()}
    for page in PAGES:
        for line in commands_in(page.read_text(encoding="utf-8")):
            wrong = problem_with(line, known)
            assert wrong is None, f"{named(page)}: `{line}`: {wrong}"
    assert problem_with("dyna colect --out x", known) == "there is no command 'dyna colect'"
    assert problem_with("dyna eval agents", known) == "'dyna eval' has no command 'agents'"
    assert problem_with("dyna collect --outt x", known) == "'dyna collect' has no option '--outt'"


@pytest.mark.parametrize("name", ["generate_api", "generate_commands"])
def test_generated_pages_are_up_to_date(name: str) -> None:
    module = generator(name)
    text = module.PAGE.read_text(encoding="utf-8")
    assert text == module.page(), f"{module.PAGE.name} is stale: run `make docs`"
