"""The engine against torch: drawn configurations with every option, exact, path by path."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from timm_support import timm
from torch.utils.flop_counter import FlopCounterMode
from torch_support import configs, image, saved_bytes

from vitcost.check.against_torch import STEPS, Case
from vitcost.check.reference import build
from vitcost.config.vit_config import ViTConfig
from vitcost.engine.cost import fold
from vitcost.engine.lower import Mode, lower
from vitcost.engine.structure import sizes_of, structure_of

COUNTS = (
    "parameters",
    "forward FLOPs, eager attention",
    "forward and backward FLOPs, eager attention",
    "forward and backward FLOPs, fused attention",
)
FVCORE = ("fvcore, eager attention", "fvcore, fused attention")
SAVED = ("saved activations, eager attention", "saved activations, fused attention")

drawn = settings(deadline=None, database=None, derandomize=True)


def unexplained(config: ViTConfig, batch: int, steps: tuple[str, ...]) -> list[object]:
    """What formula and torch see differently, where each step compares at least one number."""
    case = Case(config, batch, build)
    found: list[object] = []
    for label in steps:
        compared = list(STEPS[label].run(case))
        dropped = "saved" in label and "fused" in label and config.attn_drop_rate
        assert dropped or any(one.expected for one in compared)
        found += [o for o in compared if o.expected != o.actual and not o.explained_by]
    return found


def test_every_step_is_drawn() -> None:
    assert {*COUNTS, *FVCORE, *SAVED} == set(STEPS)


@settings(drawn, max_examples=45)
@given(st.integers(1, 3), configs())
def test_parameters_flops_calls_and_shapes(batch: int, config: ViTConfig) -> None:
    assert unexplained(config, batch, COUNTS) == []


@settings(drawn, max_examples=30)
@given(configs())
def test_fvcore(config: ViTConfig) -> None:
    assert unexplained(config, 1, FVCORE) == []


@settings(drawn, max_examples=24)
@given(st.integers(1, 2), configs())
def test_saved_bytes_of_every_module(batch: int, config: ViTConfig) -> None:
    assert unexplained(config, batch, SAVED) == []


@settings(drawn, max_examples=60)
@given(configs(), st.integers(1, 3), st.booleans(), st.booleans())
def test_saved_bytes_on_real_tensors(
    config: ViTConfig, batch: int, fused: bool, autocast: bool
) -> None:
    # the CPU's fused kernel has no dropout: torch runs eager products then
    kernel = "flash" if fused and not config.attn_drop_rate else "eager"
    mode = Mode(kernel, "amp" if autocast else "fp32", "cpu")
    engine = fold(lower(structure_of(config, batch, True), mode), sizes_of(config, batch))
    model = build(config, kernel == "flash").train()
    assert engine.cost.saved_bytes == saved_bytes(model, image(config, batch), autocast)


def flops(model: torch.nn.Module, config: ViTConfig) -> tuple[int, int]:
    """Forward, and forward + backward, as torch counts them."""
    with FlopCounterMode(display=False) as counter:
        logits = model(image(config, 1).to("meta"))
        forward = counter.get_total_flops()
        logits.sum().backward()
    return forward, counter.get_total_flops()


def test_the_reference_is_the_published_model() -> None:
    # Dosovitskiy et al. 2021, table 1: 86 M; 16.9 + 0.7 GMACs of linears, convolution and attention
    config = ViTConfig()
    with torch.device("meta"):
        model = build(config)
    assert sum(p.numel() for p in model.parameters()) == 86_567_656
    assert flops(model, config) == (35_127_656_448, 105_151_758_336)


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("vit_base_patch16_224", ViTConfig()),
        ("deit_base_distilled_patch16_224", ViTConfig(dist_token=True)),
    ],
)
def test_the_reference_has_timms_parameters(name: str, config: ViTConfig) -> None:
    with torch.device("meta"):
        ours = build(config)
        theirs = timm().create_model(name, num_classes=1000)
    want = {path: p.shape for path, p in theirs.named_parameters()}
    assert {path: p.shape for path, p in ours.named_parameters()} == want
    assert flops(ours, config)[0] == flops(theirs, config)[0]


@pytest.mark.parametrize("dist_token", [False, True])
def test_the_reference_computes_what_timm_computes(dist_token: bool) -> None:
    config = ViTConfig(
        img_size=(32, 48), embed_dim=24, depth=3, num_heads=3, num_classes=7, dist_token=dist_token
    )
    kind = "deit.VisionTransformerDistilled" if dist_token else "VisionTransformer"
    package = timm().models
    for part in kind.split("."):
        package = getattr(package, part)
    theirs = package(
        img_size=(32, 48), patch_size=16, embed_dim=24, depth=3, num_heads=3, num_classes=7
    ).eval()
    generator = torch.Generator().manual_seed(0)
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, generator=generator)
    ours = build(config, fused=True)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 3, 32, 48, generator=generator)
    with torch.no_grad():
        assert torch.equal(ours(x), theirs(x))
        eager = build(config)
        eager.load_state_dict(theirs.state_dict())
        torch.testing.assert_close(eager(x), ours(x), rtol=1e-4, atol=1e-4)
