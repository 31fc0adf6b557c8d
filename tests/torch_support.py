"""Witnesses that run real torch modules on real CPU tensors, and the configurations to run."""

from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from vitcost.config import ViTConfig

# threads would only wait for each other over tensors this small
torch.set_num_threads(1)


@st.composite
def configs(draw: st.DrawFn, head_dims: tuple[int, int] = (1, 5)) -> ViTConfig:
    """Tiny Vision Transformers with every option of the plain model."""
    heads = draw(st.integers(1, 3))
    patch = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    grid = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    rate = st.sampled_from([0.0, 0.0, 0.3])
    return ViTConfig(
        img_size=(patch[0] * grid[0], patch[1] * grid[1]),
        patch_size=patch,
        in_chans=draw(st.integers(1, 4)),
        num_classes=draw(st.integers(0, 5)),
        embed_dim=heads * draw(st.integers(*head_dims)),
        # spelled out, or long enough to be counted as a run
        depth=draw(st.sampled_from([1, 2, 3, 7])),
        num_heads=heads,
        mlp_dim=draw(st.integers(1, 12)),
        qkv_bias=draw(st.booleans()),
        qk_scale=draw(st.sampled_from([None, 0.25])),
        scale_query=draw(st.booleans()),
        dist_token=draw(st.booleans()),
        representation_size=draw(st.sampled_from([None, 1, 7])),
        patch_norm=draw(st.booleans()),
        pos_drop_rate=draw(rate),
        proj_drop_rate=draw(rate),
        attn_drop_rate=draw(rate),
        drop_path_rate=draw(rate),
    )


def image(config: ViTConfig, batch: int) -> Tensor:
    """A batch of images for a config."""
    return torch.zeros(batch, config.in_chans, *config.img_size)


def saved_bytes(model: nn.Module, x: Tensor, autocast: bool) -> int:
    """Bytes that autograd holds after a forward pass: each storage once, parameters and x apart."""
    own = {t.untyped_storage().data_ptr() for t in (x, *model.parameters(), *model.buffers())}
    held: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        held.setdefault(tensor.untyped_storage().data_ptr(), tensor)
        # an output that is held by its own graph would never be freed
        return tensor.detach()

    with (
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=autocast),
    ):
        output = model(x)
    total = sum(t.untyped_storage().nbytes() for at, t in held.items() if at not in own)
    del output
    return total


def live_peak(model: nn.Module, x: Tensor, autocast: bool) -> int:
    """The most bytes of tensors alive after any operator of a forward pass without gradients."""
    live = _Live([x, *model.parameters(), *model.buffers()])
    with live, torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        model(x)
    return live.peak


def step_peak(model: nn.Module, x: Tensor, autocast: bool) -> int:
    """The most bytes of tensors alive in the forward and backward pass of a cross entropy."""
    targets = torch.zeros(len(x), dtype=torch.long)
    live = _Live([x, targets, *model.parameters(), *model.buffers()])
    with live:
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            loss = torch.nn.functional.cross_entropy(model(x), targets)
        loss.backward()
    return live.peak


class _Live(TorchDispatchMode):
    """Follows every storage that an operator returns until Python lets it go."""

    def __init__(self, known: list[Tensor]) -> None:
        super().__init__()
        self.known = {t.untyped_storage()._cdata for t in known}
        self.alive: dict[int, tuple[StorageWeakRef, int]] = {}
        self.peak = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        self.alive = {at: (ref, n) for at, (ref, n) in self.alive.items() if not ref.expired()}
        for tensor in tree_leaves(output):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                if storage._cdata not in self.known and storage._cdata not in self.alive:
                    self.alive[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())
        self.peak = max(self.peak, sum(n for _, n in self.alive.values()))
        return output
