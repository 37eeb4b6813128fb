"""A household robot in a game that it has never seen, looking ahead with the world model that comes along.

Policy and world model are two adapters of one small model, SmolLM2-135M, which runs in this process: no key,
no server, no GPU. At each step the policy proposes four commands, the world model imagines what each would
do, and the most promising one runs. The household is a new one, made by the generator. Takes about 15 seconds
on two cores; the first time, the base model is unpacked, which takes half a minute more.

    python examples/04_household_agent.py [SEED]

Prints something like this, depending on the machine (``?`` what was proposed, ``>`` what ran, and under it what
was imagined where that was not to the letter what happened):

    Your task is to: put some candle on drawer.

    ? go to countertop 1 | go to sinkbasin 1
    > go to countertop 1
      You arrive at countertop 1. On the countertop 1, you see a candle 2, a candle 1, a cloth 1, a toiletpaper
        3, and a toiletpaper 1.
      imagined: You arrive at countertop 1. On the countertop 1, you see a candle 1, a soapbottle 1, a
        spraybottle 1, and a toiletpaper 1.

    ? take candle 1 from countertop 1
    > take candle 1 from countertop 1
      You pick up the candle 1 from the countertop 1.

    ? go to drawer 1
    > go to drawer 1
      You arrive at drawer 1. On the drawer 1, you see a toiletpaper 2.
      imagined: You arrive at drawer 1. The drawer 1 is closed.

    ? move candle 1 to drawer 1
    > move candle 1 to drawer 1
      You move the candle 1 to the drawer 1.

    won in 4 steps; 0 first choices overruled; 50% of the outcomes imagined to the letter
"""

from __future__ import annotations

import sys
import tempfile
import textwrap

from dyna_graph import DynaConfig
from dyna_nodes.codec.policy import POLICY_PROMPT
from dyna_nodes.events import CritiqueEvent, ObserveEvent, SimulateEvent
from dyna_training.environments.alfworld.generator import write
from dyna_training.tools import environment_tools, task_message

CONFIG = {
    "model": {
        "name": "local:smollm2+alfworld-policy",
        "temperature": 1.0,
        "max_tokens": 64,
        "options": {"seed": 0},
    },
    "system_prompt": POLICY_PROMPT,  # the policy must be run with the prompt that it was trained with
    "world_model": "local:smollm2+alfworld-world-model",
    "critic": "household",
    "simulate": {"candidates": 4},
    "critique": {"max_revisions": 0, "on_exhausted": "allow", "on_failure": "allow"},  # it is only a game
    "limits": {"max_steps": 30},
}


def main(seed: int) -> None:
    """Play one game."""
    [act] = environment_tools("dyna/ALFWorld-v0", max_steps=30)
    agent = DynaConfig.from_dict(CONFIG).build([act])
    with tempfile.TemporaryDirectory() as folder:
        task = task_message(act, seed=seed, options={"game": str(write(folder, seed))})
        print(textwrap.fill(str(task.content).rpartition("\n\n")[2], 100))
        overruled, steps, matches, won = 0, 0, 0.0, False
        for event in agent.stream({"messages": [task]}, stream_mode="custom"):
            if isinstance(event, SimulateEvent):
                proposed = [action.text for c in event.candidates for action in c.calls.values()]
                print(f"\n? {' | '.join(dict.fromkeys(proposed))}")
            elif isinstance(event, CritiqueEvent):
                overruled += event.chosen > 0
            elif isinstance(event, ObserveEvent):
                for step in event.transitions:
                    steps, matches = steps + 1, matches + step.scores.get("exact", 0)
                    print(f"> {step.action.text}\n  {step.observation}")
                    if not step.scores.get("exact") and step.prediction is not None:
                        print(f"  imagined: {step.prediction.observation or step.prediction.error}")
                    won = bool(step.reward)
    print(f"\n{'won' if won else 'not won'} in {steps} steps; {overruled} first choices overruled; ", end="")
    print(f"{matches / steps:.0%} of the outcomes imagined to the letter")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
