"""Model states: torch's own optimizers on real parameters, frozen parts apart."""

import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from alive import Alive
from timm_features import BASE, FEATURES, VIT, build
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

import vitcost
from vitcost.check import reference, step_witnesses
from vitcost.config.optimizers import OPTIMIZERS
from vitcost.config.scenario import Scenario
from vitcost.config.vit_config import ViTConfig, configure
from vitcost.costs.ranks import update_temporaries
from vitcost.engine.lower import Mode, lower
from vitcost.engine.model import sizes_of, structure_of
from vitcost.engine.parameters import parameters
from vitcost.engine.unroll import unroll
from vitcost.engine.workload import workload
from vitcost.zoo.timm.args import fields_of

CONFIG = ViTConfig(img_size=8, patch_size=4, embed_dim=12, depth=7, num_heads=3, num_classes=5)


# torchao says on stderr what it cannot load, and compiles its step
OUTSIDE = [name for name, row in OPTIMIZERS.items() if row.real.startswith("torchao")]


@pytest.mark.parametrize(
    ("precision", "freeze"),
    [("fp32", "none"), ("bf16", "backbone"), ("fp32", "first:3"), ("bf16", "all-but-last:2")],
)
@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name not in OUTSIDE])
def test_states_are_torchs(name: str, precision: str, freeze: str) -> None:
    assert_states(name, precision, freeze)


_TORCHAO = """
import sys, torch
sys.path[:0] = [PATH]
from test_states import OUTSIDE, assert_states, assert_torchaos_steps, assert_torchaos_weights
torch.set_num_threads(1)
torch.compiler.set_stance("force_eager")
for name in OUTSIDE:
    assert_states(name, "fp32", "none")
    assert_states(name, "bf16", "first:3")
    assert_torchaos_steps(name)
assert_torchaos_weights()
print("equal")
"""


def test_states_are_torchaos() -> None:
    script = _TORCHAO.replace("PATH", repr(str(Path(__file__).parent)))
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=False
    )
    assert found.stdout == "equal\n", found.stderr


def assert_states(name: str, precision: str, freeze: str) -> None:
    # of a width at which some of the matrices are cut into blocks, and some are not
    config = CONFIG if OPTIMIZERS[name].kept is None else replace(CONFIG, embed_dim=48)
    model = reference.build(config)
    if precision == "bf16":
        model = model.to(torch.bfloat16)
    kept = {"none": 0, "first:3": 3, "all-but-last:2": 5}.get(freeze)
    for path, parameter in model.named_parameters():
        top, _, rest = path.partition(".")
        if freeze == "backbone":
            parameter.requires_grad_(top == "head")
        elif kept and top != "blocks":
            # what stands before the frozen blocks is frozen, what stands behind them is not
            parameter.requires_grad_(top in ("norm", "head"))
        elif kept:
            parameter.requires_grad_(int(rest.partition(".")[0]) >= kept)
    trained = [p for p in model.parameters() if p.requires_grad]
    # its steps are counted on a card, which no kernel needs to be there for
    captured = "capturable" in OPTIMIZERS[name].options
    with FakeTensorMode() if captured else nullcontext():
        if captured:
            trained = [
                nn.Parameter(torch.zeros(p.shape, device="cuda").to(p.dtype)) for p in trained
            ]
        optimizer = stepped(name, trained)
        states = of_states(optimizer)
        if captured:
            assert_temporaries(name, config, precision, freeze, optimizer)
    training = vitcost.report(
        config, optimizer=name, precision=precision, freeze=freeze, mode="train"
    ).training
    assert training.weights_bytes == sum(p.nbytes for p in model.parameters())
    assert training.gradients_bytes == sum(p.nbytes for p in trained)
    assert training.optimizer_bytes == sum(states.values())


def stepped(name: str, trained: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
    """An optimizer after two steps."""
    for parameter in trained:
        parameter.grad = torch.zeros_like(parameter)
    optimizer = step_witnesses.optimizer(name)(trained)
    for _ in range(2):
        optimizer.step()
    return optimizer


def assert_temporaries(
    name: str, config: ViTConfig, precision: str, freeze: str, optimizer: torch.optim.Optimizer
) -> None:
    """A third step allocates what the table says."""
    trained = [p for group in optimizer.param_groups for p in group["params"]]
    kept = [t for state in optimizer.state.values() for t in state.values()]
    assert {t.device.type for t in kept} == {"cuda"}
    alive = Alive([*trained, *(p.grad for p in trained), *kept])
    with alive:
        optimizer.step()
    flags = {"precision": precision, "freeze": freeze, "optimizer": name, "mode": "train"}
    assert update_temporaries(workload(config, Scenario(**flags)), None) == max(alive.seen)


def of_states(optimizer: torch.optim.Optimizer) -> dict[int, int]:
    """The storages that an optimizer keeps, each once, and their bytes."""
    kept = [value for state in optimizer.state.values() for value in state.values()]
    kept += [value for group in optimizer.param_groups for value in group.values()]
    # tables of codes are shared, a counter may be a number of Python
    tensors = [t for each in kept if isinstance(each, torch.Tensor) for t in inner(each)]
    storages = [t.untyped_storage() for t in tensors]
    return {storage._cdata: storage.nbytes() for storage in storages}


def inner(tensor: torch.Tensor) -> Iterator[torch.Tensor]:
    """The tensors that a tensor of a class of its own is made of."""
    if not is_traceable_wrapper_subclass(tensor):
        yield tensor
        return
    names, _ = tensor.__tensor_flatten__()
    for name in names:
        yield from inner(getattr(tensor, name))


def assert_torchaos_steps(name: str) -> None:
    """Its operators, one after the other, allocate what the table says at most; of a matrix in
    blocks as much."""
    row = OPTIMIZERS[name]
    for shape, whole in (((512, 512), False), ((64, 65), True)):
        parameter = torch.nn.Parameter(torch.zeros(shape))
        parameter.grad = torch.zeros_like(parameter)
        optimizer = step_witnesses.optimizer(name)([parameter])
        for _ in range(2):
            optimizer.step()
        lr = optimizer.param_groups[0]["lr"]
        states = [t for value in optimizer.state[parameter].values() for t in inner(value)]
        alive = Alive([parameter, parameter.grad, lr, *states])
        with alive:
            optimizer.step()
        (most, _) = row.walk(shape, 4)
        assert most.size is not None
        assert max(alive.seen) < most.size if whole else max(alive.seen) == most.size


def test_states_of_one_tensor() -> None:
    """512 × 512 elements: codes, a scale for each block, tables, and a counter."""
    n, kept = 512 * 512, {}
    for name, row in OPTIMIZERS.items():
        of = row.of((512, 512))
        kept[name] = of.kept((512, 512), 4) if of.kept else of.moments * 4 * n + of.step_bytes
    assert kept["adamw-8bit"] + OPTIMIZERS["adamw-8bit"].tables == 534_528
    assert kept["adamw-8bit-ao"] == 2 * (n + 4 * n // 256 + 4 * 256) + 4 == 534_532
    assert kept["adamw-fp8-ao"] == 2 * (n + 4 * n // 256) + 4 == 532_484
    assert kept["adamw-4bit-ao"] == 2 * (n // 2 + 4 * n // 128 + 4 * 16) + 4 == 278_660
    assert kept["adafactor"] == 4 * (512 + 512) + 4 == 4_100
    assert kept["muon"] == 4 * n == 1_048_576


_REGISTERS = {"reg_tokens": 3, "no_embed_class": True}


@pytest.mark.parametrize(
    ("model_class", "options"), [*FEATURES.values(), (VIT, _REGISTERS)], ids=[*FEATURES, "both"]
)
def test_parameters_come_in_the_order_of_torchs(model_class: str, options: dict[str, Any]) -> None:
    """An optimizer that takes one after the other has two of them in memory at a time."""
    kwargs = {**BASE, **options}
    config = configure(fields_of(model_class, kwargs))
    tree, sizes = lower(structure_of(config, 1, True), Mode()), sizes_of(config)
    mine = [parameter.numel(sizes) for parameter in parameters(unroll(tree))]
    assert mine == [p.numel() for p in build(model_class, kwargs, fused=False).parameters()]


def test_rules_of_thumb_beside_what_is_exact() -> None:
    """ViT-B/16 in fp32: 2Φ is half of the weights alone; 20Φ against 16Φ and what is saved."""
    b, s, h, a, params = 8, 197, 768, 12, 86_567_656
    found = vitcost.report("vit_base_patch16_224", batch=b, attention="eager")
    rule, train = found.rule_of_thumb, found.training
    assert rule[:2] == (2 * params, 20 * params)
    saved = 12 * (32 * s * b * h + 2 * a * s * s * b)
    assert rule.saved_activations_bytes == saved
    assert rule.saved_activations_formula == "32sbh + 2as²b"
    assert rule.saved_activations_error == saved / train.saved_activations_bytes - 1 < -0.4
    assert rule.inference_error == 2 * params / found.inference.total_bytes - 1 < -0.5
    assert rule.training_error == 20 * params / train.sum_bytes - 1


def test_the_published_rule_has_dropout_where_the_model_has() -> None:
    b, s, h, a = 2, 197, 192, 3
    rates = {"proj_drop_rate": 0.1, "attn_drop_rate": 0.1}
    rule = vitcost.report("vit_tiny_patch16_224", batch=b, **rates).rule_of_thumb
    assert rule.saved_activations_bytes == 12 * (34 * s * b * h + 5 * a * s * s * b)
    assert rule.saved_activations_formula == "34sbh + 5as²b"
    # it is of an MLP four times as wide
    assert (
        vitcost.report("vit_tiny_patch16_224", mlp_dim=400).rule_of_thumb.saved_activations_bytes
        is None
    )


def test_weights_stored_in_fewer_bits() -> None:
    """Linear layers a byte an element and numbers for each output channel, or half a byte and two
    halves for each 128 elements of a row, where it has whole groups of these; the rest in bf16."""
    h, m, K, L, params = 192, 768, 1000, 12, 5_717_416
    matrices = L * (4 * h * h + 2 * h * m) + h * K
    channels = L * (3 * h + h + m + h) + K
    found = vitcost.report("vit_tiny_patch16_224", precision="bf16").inference
    # a scale in fp32 and a zero point
    assert found.int8_weights_bytes == matrices + 5 * channels + 2 * (params - matrices)
    assert found.fp8_weights_bytes == matrices + 4 * channels + 2 * (params - matrices)
    # rows of h are no whole groups
    grouped = L * h * m
    stored = grouped // 2 + 2 * 2 * grouped // 128 + 2 * (params - grouped)
    assert found.int4_weights_bytes == stored
    full = vitcost.report("vit_tiny_patch16_224")
    assert full.inference.int8_weights_bytes == matrices + 5 * channels + 4 * (params - matrices)
    memory = full.to_dict()["memory"]["inference"]
    assert memory["int8_weights_bytes"] == full.inference.int8_weights_bytes


def assert_torchaos_weights() -> None:
    """``quantize_`` of a real model; in int4 by the layout of a CPU, which has as many bytes as a
    card's: torchao/quantization/quantize_/workflows/int4/int4_tensor.py."""
    from torchao.prototype.quantization.int4 import PrototypeInt4WeightOnlyConfig
    from torchao.quantization import Float8WeightOnlyConfig, Int8WeightOnlyConfig, quantize_

    config = replace(CONFIG, embed_dim=256, num_heads=4, mlp_dim=208, depth=2, num_classes=16)
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        stored = vitcost.report(config, precision=precision).inference
        pairs = (
            (stored.int8_weights_bytes, Int8WeightOnlyConfig()),
            (stored.fp8_weights_bytes, Float8WeightOnlyConfig()),
        )
        for expected, how in pairs:
            model = reference.build(config).to(dtype)
            quantize_(model, how)
            assert expected == _bytes(model.parameters())
    model = reference.build(config).to(torch.bfloat16)
    quantize_(model, PrototypeInt4WeightOnlyConfig(group_size=128))
    assert stored.int4_weights_bytes == _bytes(model.parameters())


def _bytes(tensors: Iterable[torch.Tensor]) -> int:
    return sum(t.untyped_storage().nbytes() for each in tensors for t in inner(each))
