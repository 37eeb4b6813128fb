"""What settings make of a critic's verdict: on rejection, in doubt, after a failure, and where nobody can be asked."""

from __future__ import annotations

from dyna_nodes.core import DynaCore
from dyna_nodes.nouns import Decision, Prediction, Simulation, Verdict
from dyna_nodes.settings import Policy, ToolSettings

DECISIONS: dict[Policy, Decision] = {
    "block": Decision.REJECT,
    "allow": Decision.APPROVE,
    "escalate": Decision.ESCALATE,
}


def settled(core: DynaCore, verdict: Verdict, simulation: Simulation) -> Verdict:
    """Return what a verdict comes to under the policies of its tool.

    Args:
        core: What the nodes share.
        verdict: The critic's verdict, or one that says how the critic failed.
        simulation: What it is about.
    """
    settings = core.tool_settings(simulation.action.tool)
    if verdict.failed:
        decision = DECISIONS[settings.on_failure or core.settings.on_failure]
        verdict = verdict.model_copy(update={"decision": decision, "action": None})
    elif verdict.decision is Decision.REJECT:
        verdict = _rejected(settings.on_reject, verdict)
    if verdict.decision is Decision.APPROVE and settings.on_uncertain != "allow":
        doubt = _doubt(core, settings, simulation.prediction)
        if doubt:
            verdict = verdict.model_copy(
                update={
                    "decision": DECISIONS[settings.on_uncertain],
                    "reason": "; ".join(r for r in (doubt, verdict.reason) if r),
                    "hint": f"This call should not run: {doubt}.",
                }
            )
    return _answerable(core, verdict)


def _rejected(policy: Policy, verdict: Verdict) -> Verdict:
    """Return a rejection as a policy has it."""
    if policy == "block":
        return verdict
    reason = f"allowed although rejected: {verdict.reason}" if policy == "allow" else verdict.reason
    return verdict.model_copy(update={"decision": DECISIONS[policy], "reason": reason, "action": None})


def _doubt(core: DynaCore, settings: ToolSettings, prediction: Prediction) -> str:
    """Return why an approved call is uncertain; empty when it is not."""
    needs = settings.needs_success
    if needs is None:
        needs = settings.irreversible and core.world_model is not None
    if needs and prediction.success is not True:
        return "no success predicted, and the tool needs that"
    least = settings.min_confidence
    if least is not None and (prediction.confidence is None or prediction.confidence < least):
        found = (
            "no confidence"
            if prediction.confidence is None
            else f"a confidence of {prediction.confidence:.2f}"
        )
        return f"the prediction has {found}, and the tool needs {least:.2f}"
    return ""


def _answerable(core: DynaCore, verdict: Verdict) -> Verdict:
    """Refuse what only a human could decide where none can be asked."""
    if verdict.decision is not Decision.ESCALATE or core.durable:
        return verdict
    why = "a human would have to decide, but the agent has no checkpointer"
    reason = "; ".join(r for r in (verdict.reason, why) if r)
    hint = verdict.hint or "This call needs a human."
    return verdict.model_copy(update={"decision": Decision.REJECT, "reason": reason, "hint": hint})
