"""What holds for every model under every scenario, and a draw of one of each.

An invariant is a function of a model, flags of a scenario and a source of more choices; it asserts.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from itertools import pairwise
from random import Random
from typing import Any, NamedTuple, TypeAlias

from hypothesis import assume
from hypothesis import strategies as st

import vitcost
from vitcost.config.scenario import OPTIMIZERS, PRECISIONS, RECIPES, Scenario
from vitcost.costs.memory import loss_bytes, states
from vitcost.costs.memory_types import Training
from vitcost.costs.quantities import EXPLAINED, QUANTITIES, values
from vitcost.costs.report import Report, report_on
from vitcost.engine.cost import Cost
from vitcost.engine.lower import lower
from vitcost.engine.model import sizes_of, structure_of
from vitcost.engine.parameters import parameters
from vitcost.engine.workload import mode_of, workload
from vitcost.errors import VitcostError
from vitcost.zoo import resolve

__all__ = ["INVARIANTS", "draw"]

Config: TypeAlias = Any
Flags: TypeAlias = Mapping[str, Any]
Choose: TypeAlias = Callable[[st.SearchStrategy[Any]], Any]


# --- models and scenarios


def _ints(least: int, most: int) -> st.SearchStrategy[int]:
    return st.integers(least, most)


@st.composite
def configs(draw: Any) -> Config:
    """A small model of any wiring that a config expresses."""
    heads, width = draw(_ints(1, 4)), 8 * draw(_ints(1, 4))
    patch = draw(st.sampled_from((2, 4, 7, 8)))
    image = patch * draw(_ints(1, 5)), patch * draw(_ints(1, 5))
    token = draw(st.booleans())
    given: dict[str, Any] = {
        "embed_dim": heads * width,
        "num_heads": heads,
        "patch_size": patch,
        "img_size": image,
        "class_token": token,
        "depth": draw(_ints(1, 5)),
        "num_classes": draw(st.sampled_from((0, 1, 10))),
        "mlp_ratio": draw(st.sampled_from((1, 2.5, 4))),
        "global_pool": draw(st.sampled_from(("avg", "map", "max", *(("token",) * 3 * token)))),
    }
    choices: tuple[tuple[str, tuple[Any, ...]], ...] = (
        ("reg_tokens", (1, 4)),
        ("qkv_bias", (False,)),
        ("qk_norm", (True,)),
        ("pre_norm", (True,)),
        ("init_values", (1e-5,)),
        ("norm_layer", ("rmsnorm",)),
        ("act_layer", ("quick_gelu", "silu", "relu")),
        ("mlp_layer", ("SwiGLU", "SwiGLUPacked", "GluMlp")),
        ("block_fn", ("ResPostBlock", "ParallelScalingBlock", "ParallelThingsBlock")),
        ("attn_layer", ("diff",)),
        ("pos_embed", ("none",)),
        ("attn_drop_rate", (0.1,)),
        ("proj_drop_rate", (0.1,)),
        ("drop_path_rate", (0.1,)),
        ("fc_norm", (True, False)),
    )
    for name in draw(st.lists(st.sampled_from([name for name, _ in choices]), max_size=3)):
        given[name] = draw(st.sampled_from(dict(choices)[name]))
    try:
        return vitcost.ViTConfig(**given)
    except VitcostError:
        # fields that do not go together
        assume(False)


# a name of each family, shallow: how deep a model is changes no rule
NAMES = (
    "vit_tiny_patch16_224", "vit_small_patch14_dinov2", "deit_tiny_distilled_patch16_224",
    "eva02_tiny_patch14_224", "vit_base_patch16_siglip_224", "beit_base_patch16_224",
    "vit_so150m2_patch16_reg1_gap_256", "vit_small_r26_s32_224", "vit_small_patch16_dinov3",
    "gpt2", "vit_pwee_patch16_reg1_gap_256", "vit_small_plus_patch16_dinov3",
)  # fmt: skip


@st.composite
def scenarios(draw: Any, config: Config) -> Flags:
    """Flags that go together."""
    found: dict[str, Any] = {"batch": draw(st.sampled_from((1, 2, 3, 8, 64)))}
    choices: dict[str, tuple[Any, ...]] = {
        "mode": ("train",),
        "precision": ("amp-bf16", "amp-fp16", "bf16", "fp16"),
        "attention": ("eager", "math"),
        "platform": ("cpu",),
        "optimizer": tuple(OPTIMIZERS),
        "checkpointing": ("selective", "block", "every:2", "every:3", "first:1", "last:2"),
        "freeze": ("backbone", "first:1", "all-but-last:1"),
        "lora": (2,),
        "ranks": (2, 8),
        "ema": (1,),
        "ema_dtype": ("fp32", "bf16"),
        "ema_device": ("cpu",),
        "optimizer_in_backward": (True,),
        "grad_scaler": (True,),
        "accumulate": (2,),
        "zero_grad": ("zeros",),
        "buckets": ("views",),
    }
    for name in draw(st.lists(st.sampled_from(list(choices)), max_size=4, unique=True)):
        found[name] = draw(st.sampled_from(choices[name]))
    return found


def scenario_of(flags: Flags, **others: Any) -> Scenario:
    return Scenario.of(**{**flags, **others})


def told(config: Config, flags: Flags, **others: Any) -> Report:
    """The report on a config, or a draw that is none."""
    try:
        scenario = scenario_of(flags, **others)
        return report_on(resolve(config), workload(config, scenario))
    except VitcostError:
        assume(False)
        raise


class Trained(NamedTuple):
    """A training step without its peak, which is the most of a report's work."""

    scenario: Scenario
    cost: Cost
    states: Training


def trained(config: Config, flags: Flags, **others: Any) -> Trained:
    """The step of a config, or a draw that is none."""
    try:
        scenario = scenario_of(flags, **{**others, "mode": "train"})
        run = workload(config, scenario)
        cost = run.rows().cost
        return Trained(scenario, cost, states(run, cost.saved_bytes + loss_bytes(run)))
    except VitcostError:
        assume(False)
        raise


# --- invariants

Check: TypeAlias = Callable[[Config, Flags, Choose], None]


def sums(config: Config, flags: Flags, choose: Choose) -> None:
    """Layers and parts add up to the totals, and no number is below 0."""
    found = told(config, flags)
    parts, layers = found.parts, found.layers
    assert sum(part.params for part in parts) == found.params
    totals = {
        "params": found.params,
        "flops": found.flops.forward,
        "pointwise": found.flops.pointwise_forward,
        "saved_bytes": found.training.saved_activations_bytes,
    }
    for name, total in totals.items():
        assert sum(layer.repeat * getattr(layer, name) for layer in layers) == total
        for layer in layers:
            assert _within(layer, name)
    assert sum(part.macs for part in parts) <= found.flops.macs_forward
    assert sum(part.saved_bytes for part in parts) <= totals["saved_bytes"]
    assert found.training.sum_bytes >= found.training.saved_activations_bytes
    if found.training.peak_parts is not None:
        assert sum(found.training.peak_parts) == found.training.peak_bytes


def _within(layer: Any, name: str) -> bool:
    inside = sum(child.repeat * getattr(child, name) for child in layer.children)
    own = 0 <= inside <= getattr(layer, name)
    return own and all(_within(child, name) for child in layer.children)


def rising(config: Config, flags: Flags, choose: Choose) -> None:
    """Bytes do not fall when the batch, the image or the depth rises."""
    # a batch of one runs other operators, and may need more than two: its views are no copies
    axes = ["depth", *["batch"] * (flags["batch"] > 1), *["img_size"] * hasattr(config, "img_size")]
    axis = choose(st.sampled_from(axes))
    before = told(config, flags)
    steps = choose(_ints(1, 3))
    if axis == "batch":
        after = told(config, flags, batch=before.scenario.batch + steps)
    else:
        after = told(_larger(config, axis, steps), flags)
    # an optimizer of few bits may keep less of a larger table of positions than the two moments in
    # float32 that it keeps of one that is no multiple of its blocks
    few_bits = axis == "img_size" and OPTIMIZERS[before.scenario.optimizer].kept is not None
    fall = 8 * few_bits * before.tokens * getattr(config, "embed_dim", 0)
    for name in ("weights", "gradients", "optimizer_states", "saved_activations"):
        own, more = (QUANTITIES[name].read(each) for each in (before, after))
        assert own - fall * (name == "optimizer_states") <= more, name  # type: ignore[operator]
    assert before.inference.total_bytes <= after.inference.total_bytes
    peaks = before.training.peak_bytes, after.training.peak_bytes
    if None not in peaks:
        assert peaks[0] - fall <= peaks[1]  # type: ignore[operator]


def _larger(config: Config, axis: str, steps: int) -> Config:
    try:
        if axis == "depth":
            return resolve(config, depth=config.depth + steps).config
        sides = zip(config.img_size, config.patch_size, strict=True)
        return resolve(config, img_size=tuple(i + steps * p for i, p in sides)).config
    except VitcostError:
        assume(False)


def checkpointed(config: Config, flags: Flags, choose: Choose) -> None:
    """Recomputed tensors are not kept, and recomputation changes no definition."""
    how = choose(st.sampled_from(("block", "every:2", "every:3")))
    plain = trained(config, flags, checkpointing="none")
    found = trained(config, flags, checkpointing=how)
    assert found.states.saved_activations_bytes <= plain.states.saved_activations_bytes
    assert found.cost.flops == plain.cost.flops
    assert found.cost.backward_flops == plain.cost.backward_flops
    assert found.cost.executed_flops == plain.cost.executed_flops
    assert found.cost.executed_backward_flops >= plain.cost.executed_backward_flops


def selective(config: Config, flags: Flags, choose: Choose) -> None:
    """The attention core alone is computed again, from queries and keys as they are given to it."""
    plain = trained(config, flags, checkpointing="none")
    found = trained(config, flags, checkpointing="selective")
    more = found.states.saved_activations_bytes - plain.states.saved_activations_bytes
    scenario = found.scenario
    assert more <= _floats(config, scenario) + _keys(config, scenario) + _biases(config, scenario)


def _biases(config: Config, scenario: Scenario) -> int:
    """The bytes by which biases of positions in fp32 exceed their casts to half precision.

    A table of biases is in fp32 under autocast. Without checkpointing the kernel's cast of it is
    kept, 2 bytes an element of a·s·s a block; with it what the core is given, 4 bytes.
    """
    autocast = PRECISIONS[scenario.precision].engine == "amp"
    biased = getattr(config, "use_rel_pos_bias", False)
    shared = getattr(config, "use_shared_rel_pos_bias", False)
    if not (autocast and (biased or shared)):
        return 0
    sizes = sizes_of(config, scenario.batch)
    return 2 * sizes["L"] * sizes["a"] * sizes["s"] ** 2


def _keys(config: Config, scenario: Scenario) -> int:
    """The keys of an attention pool whose query is frozen and whose stream trains, as adapters in
    the blocks have it: autograd keeps no factor of what needs no gradient, and a checkpointed
    region keeps all that it is given. Up to 4 bytes an element of b·s·h.
    """
    if not scenario.lora or getattr(config, "global_pool", "") != "map":
        return 0
    sizes = sizes_of(config, scenario.batch)
    return 4 * sizes["b"] * sizes["s"] * sizes["h"]


def _floats(config: Config, scenario: Scenario) -> int:
    """The bytes by which queries and keys in fp32 exceed their casts to half precision.

    A norm of queries and keys, and a rotary embedding, leave fp32 under autocast. Without
    checkpointing the kernel's casts of them are kept, each 2 bytes an element of b·s·h; with it
    what the core is given, 4 bytes. Products read a copy of the values; the core is given a view of
    the joint projection, which keeps queries and keys in it, 2 bytes an element each.
    """
    autocast = PRECISIONS[scenario.precision].engine == "amp"
    norms = getattr(config, "qk_norm", False) or getattr(config, "rope_type", "none") != "none"
    if not (autocast and norms):
        return 0
    sizes = sizes_of(config, scenario.batch)
    tokens = sizes["b"] * sizes["s"]
    joint = scenario.attention in ("eager", "math")
    return 2 * 2 * (1 + joint) * sizes["L"] * tokens * sizes["h"]


def frozen(config: Config, flags: Flags, choose: Choose) -> None:
    """What does not train raises neither what is kept nor what the backward pass computes."""
    how = choose(st.sampled_from(("backbone", "first:1", "first:2", "all-but-last:1")))
    plain = trained(config, flags, freeze="none", lora=0)
    found = trained(config, flags, freeze=how, lora=0)
    assert found.cost.backward_flops <= plain.cost.backward_flops
    assert found.cost.executed_backward_flops <= plain.cost.executed_backward_flops
    ours, whole = found.states, plain.states
    assert ours.saved_activations_bytes <= whole.saved_activations_bytes
    assert ours.gradients_bytes <= whole.gradients_bytes
    assert ours.optimizer_bytes <= whole.optimizer_bytes
    assert ours.weights_bytes == whole.weights_bytes


def sharded(config: Config, flags: Flags, choose: Choose) -> None:
    """Weights and gradients fall with the stage of ZeRO, states rise by padding alone."""
    recipe = choose(st.sampled_from(list(RECIPES)))
    fixed = {"recipe": recipe, "ranks": choose(st.sampled_from((2, 3, 8, 64)))}
    if recipe != "torch":
        fixed |= {"precision": None, "optimizer": None}
    stages = range(RECIPES[recipe].stages + 1)
    found = [trained(config, flags, zero=zero, **fixed).states for zero in stages]
    padding = _padding(config, scenario_of(flags, **fixed)) if recipe == "torch" else 0
    for less, more in pairwise(found):
        assert less.weights_bytes >= more.weights_bytes
        assert less.gradients_bytes >= more.gradients_bytes
        assert less.optimizer_bytes + padding >= more.optimizer_bytes
        assert less.saved_activations_bytes == more.saved_activations_bytes


def _padding(config: Config, scenario: Scenario) -> int:
    """What the states of a rank are more where rows are filled up: up to a row of each tensor that
    trains, and the counter of each, since stage 1 deals whole tensors."""
    optimizer, e = OPTIMIZERS[scenario.optimizer], PRECISIONS[scenario.precision].param_bytes
    sizes = sizes_of(config, scenario.batch)
    structure = structure_of(config, scenario.batch, True)
    tree = lower(structure, mode_of(config, scenario))
    trained = [each for each in parameters(tree) if each.trains]
    rows = 0
    counted = 0
    for each in trained:
        times, axes = each.repeat(sizes), each.tensor.axes
        first = sizes[axes[0]] if axes else 1
        counted += times
        rows += times * (each.numel(sizes) // first)
    return optimizer.moments * e * rows + optimizer.step_bytes * counted


def fitting(config: Config, flags: Flags, choose: Choose) -> None:
    """The batch that fit names fits by the report, and the next one does not."""
    gib = choose(st.sampled_from((0.02, 0.1, 0.5, 3)))
    asked = {"mode": "train"} | {name: flags[name] for name in flags if name != "batch"}
    try:
        found = vitcost.fit(config, gpu=f"mine,memory_gb={gib}", reserve="0", **asked)
    except VitcostError:
        assume(False)
        return
    (row,) = found.found
    most, capacity = row.largest_batch, row.capacity_bytes
    assert most is not None
    assert capacity is not None
    if most >= 10**6:
        return
    for batch in {most, most + 1} - {0}:
        assert (_needed(config, asked, batch) <= capacity) == (batch == most)
    assert row.used_bytes == _needed(config, asked, most or 1)


def _needed(config: Config, flags: Flags, batch: int) -> int:
    found = told(config, flags, batch=batch)
    if found.scenario.mode == "infer":
        total = found.inference.total_bytes
    else:
        total = found.training.peak_bytes or found.training.sum_bytes
    assert isinstance(total, int)
    return total


def one_number(config: Config, flags: Flags, choose: Choose) -> None:
    """JSON, flat rows and compare say what the report says."""
    try:
        found = vitcost.report(config, **flags)
        (row,) = vitcost.compare(config, quantities=list(_EXACT), **flags).rows()
    except VitcostError:
        assume(False)
        return
    data = found.to_dict()
    assert {name: row[QUANTITIES[name].key(name)] for name in _EXACT} == {
        name: QUANTITIES[name].read(data) for name in _EXACT
    }
    assert [each["params"] for each in _flat(data["layers"])] == [
        each["params"] for each in found.rows()
    ]
    assert data["params"]["total"] == found.params
    assert data["memory"]["training"]["peak_bytes"] == found.training.peak_bytes


_EXACT = tuple(name for name in QUANTITIES if name in EXPLAINED)


def _flat(layers: Any) -> Any:
    for layer in layers:
        yield layer
        yield from _flat(layer["children"])


def swept(config: Config, flags: Flags, choose: Choose) -> None:
    """A sweep on arrays gives what single reports give."""
    batches = sorted({flags["batch"], choose(_ints(1, 99))})
    rest = {name: flags[name] for name in flags if name != "batch"}
    try:
        found = vitcost.sweep(config, vary={"batch": batches}, quantities=_EXACT, **rest)
        rows = list(found.rows())
    except VitcostError:
        assume(False)
        return
    for row in rows:
        report = told(config, rest, batch=row["batch"])
        own = values(report)
        assert {key: row[QUANTITIES[key].key(key)] for key in _EXACT} == {
            key: own[key] for key in _EXACT
        }


_EXPLAINED: Mapping[str, Callable[[Report], Any]] = {
    "params": lambda found: found.params,
    "flops": lambda found: found.flops.forward,
    "train-flops": lambda found: found.flops.train_step,
    "pointwise": lambda found: found.flops.pointwise_forward,
    "saved-activations": lambda found: found.training.saved_activations_bytes,
}


def explained(config: Config, flags: Flags, choose: Choose) -> None:
    """The value of an explanation is the number of the report."""
    quantity = choose(st.sampled_from(list(_EXPLAINED)))
    own = {"batch", "precision", "platform", "attention", "checkpointing", "freeze", "lora"}
    reads = own if quantity == "saved-activations" else {"batch"}
    asked = {name: flags[name] for name in flags if name in reads}
    try:
        found = vitcost.explain(config, quantity, **asked)
    except VitcostError:
        assume(False)
        return
    assert found.value == _EXPLAINED[quantity](told(config, asked, mode="train"))


def from_torch(config: Config, flags: Flags, choose: Choose) -> None:
    """A module of the zoo's, built by timm, is read back into the zoo's own answer."""
    timm, torch = _installed()
    name = choose(st.sampled_from(_TIMM))
    depth, classes = choose(_ints(1, 3)), choose(st.sampled_from((0, 7, 1000)))
    with torch.device("meta"):
        module = timm.create_model(name, depth=depth, num_classes=classes)
    flags = {name: flags[name] for name in flags if name != "lora"}
    try:
        expected = vitcost.report(name, depth=depth, num_classes=classes, **flags).to_dict()
    except VitcostError:
        assume(False)
        return
    found = vitcost.report(vitcost.from_torch(module), **flags).to_dict()
    for key in ("params", "flops", "memory", "bytes_moved", "layers", "tokens"):
        assert found[key] == expected[key], key


def _installed() -> tuple[Any, Any]:
    """timm and torch, for this one alone; without them it holds nothing."""
    try:
        return import_module("timm"), import_module("torch")
    except ImportError:
        assume(False)
        raise


_TIMM = (
    "vit_tiny_patch16_224", "deit_tiny_patch16_224", "eva02_tiny_patch14_224",
    "beit_base_patch16_224", "vit_tiny_patch16_384", "deit3_small_patch16_224",
    "vit_small_patch14_dinov2", "vit_base_patch16_clip_224", "vit_base_patch16_siglip_224",
)  # fmt: skip

# the invariant, and how many of four hundred draws are of it
INVARIANTS: Mapping[str, tuple[Check, int]] = {
    "sums": (sums, 60),
    "rising": (rising, 90),
    "checkpointed": (checkpointed, 60),
    "selective": (selective, 35),
    "frozen": (frozen, 50),
    "sharded": (sharded, 35),
    "fitting": (fitting, 30),
    "one number": (one_number, 31),
    "swept": (swept, 4),
    "explained": (explained, 3),
    "from torch": (from_torch, 2),
}


# mixed, since small choices are drawn more often than large ones
_TURNS = [name for name, (_, share) in INVARIANTS.items() for _ in range(share)]
Random(0).shuffle(_TURNS)


def draw(data: st.DataObject) -> str:
    """Holds one invariant to one model under one scenario, and says which."""
    name = data.draw(st.sampled_from(_TURNS), label="invariant")
    if data.draw(st.integers(0, 4)):
        config = data.draw(configs(), label="config")
    else:
        model = data.draw(st.sampled_from(NAMES), label="model")
        config = resolve(model, depth=data.draw(st.integers(1, 4), label="depth")).config
    flags = data.draw(scenarios(config), label="flags")
    INVARIANTS[name][0](config, flags, data.draw)
    return name
