"""Witnesses that run real torch modules on real CPU tensors, and the configurations to run."""

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from vitcost.config.vit_config import ViTConfig

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
    return torch.zeros(batch, config.in_chans, *config.image)


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
