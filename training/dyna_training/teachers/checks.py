"""The verification of the last step: what it did, held against what was imagined."""

from __future__ import annotations

from dyna_nodes.codec.thinking import CHECK, InnerSimulation, certain_holds, holds
from dyna_training.environments.alfworld.differences import BECOMES
from dyna_training.environments.alfworld.knowledge import KnownWorld
from dyna_training.environments.alfworld.refusals import refusal, where
from dyna_training.environments.alfworld.task import kind, split_command
from dyna_training.environments.alfworld.text import NOTHING_HAPPENS


def verification(
    before: KnownWorld,
    after: KnownWorld,
    action: str,
    observation: str,
    simulation: InnerSimulation | None,
    wanted: str | None,
) -> str:
    """Write the line that verifies the last step.

    Args:
        before: What was known before the step.
        after: What is known after it.
        action: The step.
        observation: What it did.
        simulation: What was imagined that it does; None where nothing was.
        wanted: Kind of object that is looked for.
    """
    if observation.strip() == NOTHING_HAPPENS:
        said = f"nothing happened, {refusal(before, action)}"
    else:
        said = effect(after, action, wanted)
    return f"{CHECK}{said}{against(simulation, observation)}."


def against(simulation: InnerSimulation | None, observation: str) -> str:
    """Say in a clause how an observation stands to what was imagined; nothing where a hope failed."""
    if simulation is None:
        return ""
    if not certain_holds(simulation, observation):
        return "; I thought otherwise"
    if not holds(simulation, observation):
        return ""
    return ", as I hoped" if simulation.hypotheses else ", as I thought"


def effect(after: KnownWorld, action: str, wanted: str | None) -> str:
    """Say in a clause what a command that worked did.

    Args:
        after: What is known after it.
        action: The command.
        wanted: Kind of object that is looked for; whether it is there is said.
    """
    verb, first, second = split_command(action)
    if verb == "take":
        return f"I hold the {first} now"
    if verb == "move":
        return f"the {first} is {where(after, second)} {second} now"
    if verb in BECOMES:
        return f"the {first} is {BECOMES[verb]} now"
    if verb == "close":
        return f"{first} is closed now"
    if verb == "look":
        return f"I am at {after.here}" if after.here else "I am in the middle of the room"
    if verb == "examine" and first not in after.receptacles:
        return f"I looked at the {first}"
    if verb not in ("go", "open", "examine"):
        return f"I hold the {after.holding}" if after.holding else "my hands are empty"
    start = {"go": f"I am at {first}", "open": f"{first} is open", "examine": f"I looked at {first}"}[verb]
    if after.is_closed(first):
        return f"{start}; it is closed"
    seen = next((t for t in after.contents.get(first, ()) if kind(t) == wanted), None)
    if seen is not None:
        return f"{start} and see a {seen}"
    return f"{start}; no {wanted} here" if wanted else start
