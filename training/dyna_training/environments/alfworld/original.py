"""Plays command lists on the original alfworld package; run by `equality` with a Python that has it.

Reads one JSON object ``{"game": path, "commands": […]}`` per line from standard input and answers each with
one line ``{"observations": […], "admissible": […], "won": […], "reset_s": …, "step_s": …}``; index 0 of each
list is the state after the reset, and times are seconds of processor time. It imports nothing of this project,
so that it also runs in an environment without it.
"""

import json
import os
import sys
import time


def play(path: str, commands: list[str]) -> dict[str, object]:
    """Play `commands` on the game file at `path` with TextWorld's PDDL environment, as alfworld wraps it."""
    import textworld
    from alfworld.agents.environment.alfred_tw_env import AlfredDemangler
    from textworld.envs import PddlEnv

    started = time.process_time()
    wanted = textworld.EnvInfos(won=True, admissible_commands=True)
    environment = AlfredDemangler(PddlEnv(wanted), shuffle=False)
    environment.load(path)
    state = environment.reset()
    ready = time.process_time()
    states = [state]
    for command in commands:
        state, _, _ = environment.step(command)
        states.append(state)
    return {
        "observations": [state.feedback for state in states],
        "admissible": [list(state.admissible_commands) for state in states],
        "won": [bool(state.won) for state in states],
        "reset_s": ready - started,
        "step_s": time.process_time() - ready,
    }


def main() -> None:
    """Answer requests until standard input ends."""
    # The planner prints to the process's standard output: answers go to a copy of it, the rest to stderr.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        answers.write(json.dumps(play(request["game"], request["commands"])) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
