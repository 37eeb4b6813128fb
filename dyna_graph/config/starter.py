"""The starter file that ``dyna init`` writes."""

STARTER = """\
# A Dyna agent: it imagines what its actions would do before it does them.
# Your editor explains every key (docs/reference/configuration.md does, too); `dyna check dyna.yaml` checks.

# The policy proposes actions: provider:model such as openai:gpt-5-mini, local:base[+adapter] or
# vllm:model@http://host:8000/v1. The small base model is for trying things out; without an adapter it seldom calls a
# tool.
model: local:smollm2

# The world model imagines what each proposed action would do.
# A model's name, `thinking` (what the policy imagines in its own response), `environment` (a fork of the real
# environment) or `none`.
world_model: local:smollm2

# Who judges what was imagined, by tool. The first critic that matches a call judges it.
critic:
  - critic: judge
    tools: "*"

# shadow: imagine and record. advise: also add hints to results. enforce: stop what is rejected.
# Start with shadow: nothing is blocked, and the experience to train on is collected. World model and judge are asked
# about every call.
mode: shadow
dry_run: false        # true: no tool runs, predictions take the place of results

simulate:
  candidates: 1     # responses that the policy proposes per turn; the best is taken
  horizon: 1        # steps that each is imagined ahead

critique:
  max_revisions: 2      # turns in a row that may be rejected entirely
  on_exhausted: block   # then: block, allow or escalate (ask a human; needs a checkpointer)
  on_failure: block     # when the world model or the critic breaks: block, allow or escalate

# How tools are treated, by name or glob. The first that matches counts, an exact name before any glob.
tools:
  "read_*":
    simulate: false       # harmless: run at once
    idempotent: true      # may be called twice
    retries: 1
  "delete_*":
    irreversible: true
    timeout: 60           # seconds
  "*":
    timeout: 120

# The experience log: what was imagined, decided and observed. Train on it with dyna train.
record: experience

# Runs survive a crash with a checkpointer: sqlite:FILE, or postgresql://…; memory is for trying out.
# checkpointer: sqlite:dyna.sqlite

limits:
  max_steps: 50
"""
