"""Plays sessions on the original WebShop; run by `equality` with a Python that has what the original requires.

The first line of standard input is a JSON object: ``repository`` (a clone of princeton-nlp/WebShop), ``products``,
``attributes``, ``human`` (files as the original reads them), ``index`` (folder for the search index, which is built
where it is missing), ``kind`` (``synthetic`` or ``human``), ``seed`` (of Python's generator before the goals are made),
``show_attributes``, and ``nouns``: for each title the words that name things, put in place of spaCy's model, or null
to load the model. It is answered with ``{"goals": […], "prices": {…}}``.

Each further line is ``{"goal": number, "actions": […]}``, answered with ``{"pages": […], "clickables": […],
"rewards": […], "done": […], "step_s": …}``; index 0 of pages and clickables is the state after the reset, and time is
seconds of processor time. It imports nothing of this project, so that it also runs in an environment without it.
"""

import json
import os
import random
import subprocess
import sys
import time
import types
from pathlib import Path
from typing import Any


class Tagged:
    """A word as spaCy gives it, as far as the original looks at it."""

    def __init__(self, text: str) -> None:
        self.text, self.pos_ = text, "NOUN"


def index(folder: Path, products: list[dict[str, Any]]) -> None:
    """Build the search index as the original's scripts do."""
    documents = folder.with_suffix(".documents")
    documents.mkdir(parents=True, exist_ok=True)
    with (documents / "documents.jsonl").open("w", encoding="utf-8") as file:
        for product in products:
            options = product["options"].items()
            named = ", and ".join(f"{name}: {', '.join(values)}" for name, values in options)
            text = f"{product['Title']} {product['Description']} {product['BulletPoints'][0]} {named}".lower()
            file.write(json.dumps({"id": product["asin"], "contents": text}) + "\n")
    command = [sys.executable, "-m", "pyserini.index.lucene", "--collection", "JsonCollection"]
    command += ["--input", str(documents), "--index", str(folder), "--threads", "1", "--storeRaw"]
    command += ["--generator", "DefaultLuceneDocumentGenerator", "--storePositions", "--storeDocvectors"]
    subprocess.run(command, check=True, stdout=2)


def start(wanted: dict[str, Any]) -> Any:
    """Import the original, put in what the request says, and return its environment."""
    sys.path.insert(0, wanted["repository"])
    nouns: dict[str, list[str]] | None = wanted["nouns"]
    if nouns is not None:

        def model(title: str) -> list[Tagged]:
            return [Tagged(word) for word in nouns[title]]

        spacy: Any = types.ModuleType("spacy")
        spacy.load = lambda name: model
        sys.modules["spacy"] = spacy
    # The package's own __init__ would import the browser's client, too.
    package = types.ModuleType("web_agent_site.envs")
    package.__path__ = [str(Path(wanted["repository"]) / "web_agent_site" / "envs")]
    sys.modules["web_agent_site.envs"] = package
    from web_agent_site import utils

    utils.DEFAULT_FILE_PATH = wanted["products"]
    utils.DEFAULT_ATTR_PATH = wanted["attributes"]
    utils.HUMAN_ATTR_PATH = wanted["human"]
    from pyserini.search.lucene import LuceneSearcher
    from web_agent_site.engine import engine
    from web_agent_site.envs import web_agent_text_env as text_env

    folder = Path(wanted["index"])
    human = wanted["kind"] == "human"
    if not folder.exists():
        index(folder, engine.load_products(wanted["products"], human_goals=human)[0])
    text_env.init_search_engine = lambda num_products=None: LuceneSearcher(str(folder))
    random.seed(wanted["seed"])
    return text_env.WebAgentTextEnv(
        observation_mode="text",
        file_path=wanted["products"],
        human_goals=human,
        show_attrs=wanted["show_attributes"],
    )


def play(env: Any, goal: int, actions: list[str], number: int) -> dict[str, object]:
    """Play one session."""
    env.session_prefix = f"{number}-"
    pages, clickables, rewards, done = [env.reset(session=goal)[0]], [], [], []
    began = time.process_time()
    for action in actions:
        page, reward, over, _ = env.step(action)
        pages.append(page)
        clickables.append(list(env.text_to_clickable))  # of the page before: a step begins with finding them
        rewards.append(float(reward))
        done.append(bool(over))
    seconds = time.process_time() - began
    clickables.append(env.get_available_actions()["clickables"])
    return {"pages": pages, "clickables": clickables, "rewards": rewards, "done": done, "step_s": seconds}


def main() -> None:
    """Answer requests until standard input ends."""
    # The original prints to the process's standard output: answers go to a copy of it, the rest to stderr.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    environment = start(json.loads(sys.stdin.readline()))
    server = environment.server
    answers.write(json.dumps({"goals": server.goals, "prices": server.product_prices}) + "\n")
    for number, line in enumerate(sys.stdin):
        request = json.loads(line)
        answer = play(environment, request["goal"], request["actions"], number)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
