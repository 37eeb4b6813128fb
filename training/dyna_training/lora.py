"""LoRA's two thin products in the precision of the base, for training on a CPU.

peft keeps an adapter in float32 beside a base in bfloat16 and multiplies in float32: at rank 16 the adapter's
products are 4 % of the arithmetic of SmolLM2-135M and took a quarter of the time of a training step, most of it
for copies in float32 and for passes over the outputs. Here the adapter's weights stay in float32, as the
optimiser needs them, and each product is made once in bfloat16 and added where the base's product lies, as
autocast would round it, in a single function with its own backward pass.
"""

from __future__ import annotations

from typing import Any

import torch
from peft.tuners.lora import Linear
from torch import nn
from torch.nn import functional


class _AdaptedProduct(torch.autograd.Function):
    """``x W^T + scaling (x A^T) B^T`` for a frozen W."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        a: torch.Tensor,
        b: torch.Tensor,
        scaling: float,
    ) -> torch.Tensor:
        rows = x.reshape(-1, x.shape[-1])
        down, up = a.to(x.dtype), (b * scaling).to(x.dtype)
        inner = rows @ down.T
        output = functional.linear(rows, weight, bias).addmm_(inner, up.T)
        ctx.save_for_backward(rows, weight, inner, down, up)
        ctx.scaling = scaling
        return output.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(
        ctx: Any, gradient: torch.Tensor
    ) -> tuple[torch.Tensor | None, None, None, torch.Tensor, torch.Tensor, None]:
        rows, weight, inner, down, up = ctx.saved_tensors
        above = gradient.reshape(-1, gradient.shape[-1])
        to_inner = above @ up
        to_a = (to_inner.T @ rows).float()
        to_b = (inner.T @ above).T.float().mul_(ctx.scaling)
        to_x = None
        if ctx.needs_input_grad[0]:
            to_x = (above @ weight).addmm_(to_inner, down).view(*gradient.shape[:-1], -1)
        return to_x, None, None, to_a, to_b, None


class LeanLinear(Linear):  # type: ignore[misc]
    """peft's linear layer with one plain adapter, which is all that the recipes train."""

    def forward(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Return the base's product and the adapter's; peft's own is called when the adapter is off or merged."""
        if self.disable_adapters or self.merged:
            return super().forward(x, *args, **kwargs)  # type: ignore[no-any-return]
        name, base = self.active_adapters[0], self.base_layer
        a, b = self.lora_A[name].weight, self.lora_B[name].weight
        return _AdaptedProduct.apply(  # type: ignore[no-any-return,no-untyped-call]
            x, base.weight, base.bias, a, b, self.scaling[name]
        )


def make_lean(model: nn.Module) -> int:
    """Let the adapted linear layers of a peft model compute in the precision of their base.

    Layers that have more than plain LoRA on a frozen base (dropout, a second adapter, a bias that is trained,
    a variant such as DoRA) are left as they are.

    Returns:
        How many layers compute so now.
    """
    changed = 0
    for module in model.modules():
        if type(module) is Linear and _is_plain(module):
            module.__class__ = LeanLinear
            changed += 1
    return changed


def _is_plain(layer: Any) -> bool:
    if len(layer.active_adapters) != 1:
        return False
    name = layer.active_adapters[0]
    return (
        isinstance(layer.lora_dropout[name], nn.Identity)
        and name not in layer.lora_variant
        and layer.lora_B[name].bias is None
        and not any(p.requires_grad for p in layer.base_layer.parameters())
    )
