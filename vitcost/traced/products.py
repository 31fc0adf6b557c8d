"""Matrix products of a trace as the definition has them, even if a kernel computes others."""

from typing import Any

from torch import Tensor
from torch.utils.flop_counter import flop_registry

__all__ = ["attention_backward", "flops_of"]


def flops_of(
    packet: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
) -> int:
    """FLOPs of a call as it runs: by torch's own rules, such as ``2nmk`` of a product of n × k and
    k × m, and by two more for the fused attention of a CPU. Source: torch/utils/flop_counter.py.

    ``packet`` is the operator without its overload, ``name`` its name.

    >>> import torch
    >>> a, b = torch.empty(197, 768, device="meta"), torch.empty(768, 3072, device="meta")
    >>> flops_of(torch.ops.aten.mm, "mm", (a, b), {}, a @ b) == 2 * 197 * 768 * 3072
    True
    """
    if name.startswith(_ON_CPU):
        return _attention_on_cpu(args[1:4] if name.endswith("_backward") else args[:3], name)
    rule = flop_registry.get(packet)
    return 0 if rule is None else int(rule(*args, **kwargs, out_val=output))


_ON_CPU = "_scaled_dot_product_flash_attention_for_cpu"


def _attention_on_cpu(operands: tuple[Any, ...], name: str) -> int:
    """FLOPs of the CPU's fused attention: two products forward; five backward, as it computes the
    scores again."""
    q, k, v = operands
    queries: int = q.numel() // q.shape[-1]
    wide, deep = int(q.shape[-1]), int(v.shape[-1])
    # forward q kT and p v; backward q kT, do vT, and the gradients of q, k and v
    widths = 3 * wide + 2 * deep if name.endswith("_backward") else wide + deep
    return int(2 * queries * k.shape[-2] * widths)


def attention_backward(flops: int, args: tuple[Any, ...]) -> int:
    """FLOPs of an attention's backward by definition, ``2 · flops`` where q, k and v need
    gradients: one product of the size of ``q kᵀ`` each for the gradients of q and k, and one of the
    size of ``softmax · v`` each for those of v and of the softmax. A gradient that is not needed
    has no product.

    A fused kernel also computes the scores once more, and the gradients of tensors that need none.

    >>> import torch
    >>> q, k, v = (torch.empty(1, 12, 197, 64, device="meta", requires_grad=True) for _ in range(3))
    >>> forward = 2 * (2 * 12 * 197 * 197 * 64)
    >>> attention_backward(forward, (q, k, v)) == 2 * forward  # 4 products for 2
    True
    """
    q, k, v, *rest = args[:4]
    wide, deep = int(q.shape[-1]), int(v.shape[-1])
    scores = flops * wide // (wide + deep)
    mask = any(isinstance(t, Tensor) and t.requires_grad for t in rest)
    q_needs, k_needs, v_needs = (bool(t.requires_grad) for t in (q, k, v))
    through = q_needs or k_needs or mask
    return scores * (q_needs + k_needs) + (flops - scores) * (v_needs + through)
