"""The passes that look at one op at a time, each alone, on lists written by hand.

b images of s tokens, h wide, m inside an MLP; a heads of width d. Every number is arithmetic on
these: 4 bytes an element in fp32, 2 in half precision.
"""

from collections.abc import Sequence

import pytest

from vitcost.config.vit_config import FIELDS
from vitcost.engine.chosen import Kernels
from vitcost.engine.cost import fold
from vitcost.engine.keeps import Saved
from vitcost.engine.needs import Needs
from vitcost.engine.ops import Op, Sizes, Tensor, axes, bytes_of, param
from vitcost.engine.parameters import parameters
from vitcost.engine.precision import Precision
from vitcost.engine.timm_classes import CLASSES
from vitcost.engine.tree import Count, Module, Node, Run, linear, ops_of
from vitcost.engine.walk import Walk

B, S, H, M, L = 2, 3, 4, 8, 5
SIZES = Sizes(b=B, s=S, h=H, m=M, L=L)


def tensor(name: str, spelled: str = "b s h", role: str = "activation", size: int = 0) -> Tensor:
    return Tensor(name, axes(spelled), role, itemsize=size)


def dense(x: Tensor, y: Tensor, frozen: bool = False) -> Op:
    """A linear layer between two tensors."""
    out, inside = y.axes[-1], x.axes[-1]
    weight, bias = Tensor("weight", (out, inside), "param"), Tensor("bias", (out,), "param")
    return Op("linear", (x,), y, (inside,), weight, bias, frozen=frozen)


# --- needs-grad


def flowing(ops: Sequence[Op], training: bool = True) -> list[tuple[tuple[bool, ...], bool]]:
    """The pass gives each op its reads that need a gradient, and whether its parameters train."""
    needs = Needs(training)
    return [(low.needs, low.trains) for low in map(needs.op, ops)]


X, Y, Z = tensor("x", role="input"), tensor("y", "b s m"), tensor("z", "b s m")


def test_a_gradient_flows_from_the_first_parameter_that_trains() -> None:
    ops = [dense(X, Y), Op("gelu", (Y,), Z), dense(Z, tensor("w"))]
    assert flowing(ops) == [((False,), True), ((True,), False), ((True,), True)]


def test_in_eval_nothing_needs_one() -> None:
    ops = [dense(X, Y), Op("gelu", (Y,), Z), dense(Z, tensor("w"))]
    assert flowing(ops, training=False) == [((False,), False)] * 3


def test_a_frozen_front_needs_none_and_its_reader_starts_anew() -> None:
    ops = [dense(X, Y, frozen=True), Op("gelu", (Y,), Z), dense(Z, tensor("w"))]
    assert flowing(ops) == [((False,), False), ((False,), False), ((False,), True)]


def test_a_frozen_layer_passes_a_gradient_on() -> None:
    ops = [dense(X, Y), dense(Y, Z, frozen=True), Op("gelu", (Z,), tensor("g", "b s m"))]
    assert flowing(ops) == [((False,), True), ((True,), False), ((True,), False)]


def test_each_operand_is_asked_by_itself() -> None:
    y = tensor("y")
    assert flowing([dense(X, y), Op("mul", (X, y), tensor("w"))])[1] == ((False, True), False)


def test_a_table_that_is_frozen_trains_no_head_that_reads_it() -> None:
    table = param("table", "m h")
    looked_up = Op("embedding", (tensor("ids", "b s", "index"),), X, weight=table, frozen=True)
    head = Op("matmul", (X, table), tensor("scores", "b s m"), ("h",))
    # without the embedding in front it is a parameter as any other
    assert flowing([head]) == [((False, True), False)]
    assert flowing([looked_up, head])[1] == ((False, False), False)


def test_the_ops_that_one_stands_for_are_asked_too() -> None:
    needs = Needs(training=True)
    q, k, v = (tensor(name, "b a s d") for name in "qkv")
    needs.flows.update({q: False, k: False, v: True})
    scores, weighted, *_ = needs.op(attention(q, k, v)).parts or ()
    assert needs.op(attention(q, k, v)).needs == (False, False, True)
    assert scores.needs == (False, False)
    assert weighted.kind == "softmax"
    assert weighted.needs == (False,)


def layered(x: Tensor) -> Node:
    """L linear layers in a row."""
    layer = Module("0", "Layer", x)
    out = linear(layer, "fc", x, "h")
    run = layer.end(out, Run(Count("L")))
    return Node("", "Model", (run,), (x,), out)


def test_the_first_layer_whose_input_needs_no_gradient_is_apart() -> None:
    low = Walk(training=True).node(layered(tensor("x", role="input")))
    counts = [item.run.layers.of(SIZES) for item in low.body if isinstance(item, Node) and item.run]
    assert counts == [1, L - 1]
    assert [op.needs for op in ops_of(low)] == [(False,), (True,)]
    # one product in the backward of the first layer, two in the others: 2bshh each
    product = 2 * B * S * H * H
    assert fold(low, SIZES).cost.backward_flops == product * (1 + 2 * (L - 1))


def test_layers_in_eval_are_all_alike() -> None:
    low = Walk(training=False).node(layered(tensor("x", role="input")))
    assert [item.run for item in low.body if isinstance(item, Node)] == [Run(Count("L"))]


# --- precision


def cast(op: Op, precision: Precision) -> list[tuple[str, str, int]]:
    """The kinds of the ops that an op becomes, what each writes, and in how many bytes."""
    op = op._replace(needs=(False,) * len(op.reads))
    return [(low.kind, low.write.name, low.write.itemsize) for low in precision.op(op)]


def test_in_fp32_all_have_four_bytes_and_an_index_eight() -> None:
    precision = Precision("fp32", "cuda", "bf16")
    assert cast(dense(X, Y), precision) == [("linear", "y", 4)]
    assert precision.of(tensor("ids", "b s", "index")).itemsize == 8


def test_in_half_precision_parameters_and_images_have_two() -> None:
    precision = Precision("half", "cuda", "bf16")
    assert cast(dense(X, Y), precision) == [("linear", "y", 2)]
    assert {t.itemsize for t in precision.low.values()} == {2}
    assert precision.of(tensor("ids", "b s", "index")).itemsize == 8


def test_autocast_casts_the_arguments_of_a_product_from_the_last_to_the_first() -> None:
    precision = Precision("amp", "cuda", "bf16")
    *casts, low = precision.op(dense(X, Y)._replace(needs=(False,)))
    assert [op.write.name for op in casts] == ["bias", "weight", "x"]
    # the cache of autocast holds those of parameters alone
    assert [op.write.role for op in casts] == ["cast", "cast", "activation"]
    assert {t.itemsize for t in (*low.reads, low.weight, low.bias, low.write) if t} == {2}
    # the arguments are there until the product returns
    assert [t.itemsize for t in low.holds] == [4, 4, 4]


def test_what_is_half_already_is_not_cast() -> None:
    precision = Precision("amp", "cuda", "bf16")
    assert cast(dense(X, Y), precision)[-1] == ("linear", "y", 2)
    casts = [name for _, name, _ in cast(dense(Y, Z), precision)]
    assert casts == ["bias", "weight", "z"]


@pytest.mark.parametrize(
    ("platform", "found"),
    [
        # a card's autocast computes norms in floats; a CPU's leaves them as they come
        ("cuda", [("cast", "y", 4), ("norm", "n", 4)]),
        ("cpu", [("norm", "n", 2)]),
    ],
)
def test_autocast_of_a_norm_of_halves(platform: str, found: list[tuple[str, str, int]]) -> None:
    precision = Precision("amp", platform, "bf16")
    cast(dense(X, Y), precision)
    own = Op("norm", (Y,), tensor("n", "b s m"), weight=param("weight", "m"))
    assert cast(own, precision) == found


@pytest.mark.parametrize(("half", "casts"), [("bf16", 1), ("fp16", 0)])
def test_a_kernel_that_reads_halves_and_writes_floats_needs_no_copy(half: str, casts: int) -> None:
    precision = Precision("amp", "cuda", half)
    cast(dense(X, Y), precision)
    *copies, (kind, _, itemsize) = cast(Op("softmax", (Y,), tensor("p", "b s m")), precision)
    assert (len(copies), kind, itemsize) == (casts, "softmax", 4)


def test_a_sum_of_two_precisions_is_in_the_wider_one() -> None:
    precision = Precision("amp", "cuda", "bf16")
    narrow = tensor("narrow")
    cast(dense(X, narrow), precision)
    assert cast(Op("residual", (X, narrow), tensor("sum")), precision) == [("residual", "sum", 4)]


def test_autocast_does_not_reach_inside_an_op() -> None:
    precision = Precision("amp", "cuda", "bf16")
    with precision.without_autocast():
        assert cast(dense(X, Y), precision) == [("linear", "y", 4)]
    assert len(cast(dense(X, Z), precision)) == 4


def test_a_copy_inside_a_product_keeps_the_arguments_of_the_product() -> None:
    precision = Precision("fp32", "cuda", "bf16")
    rows, copy = tensor("rows"), Op("copy", (X,), tensor("laid out"), needs=(False,))
    list(precision.op(copy))
    (low,) = precision.op(Op("matmul", (copy.write, rows), Y, ("h",), needs=(False, False)))
    assert low.holds == (precision.of(X),)


# --- the kernel of an attention


def attention(q: Tensor, k: Tensor, v: Tensor, *masks: Tensor, dropout: bool = False) -> Op:
    """softmax(scale · q kᵀ + mask) v, as one op and the ops that it stands for."""
    scores, y = tensor("scores", "b a s t"), tensor("y", "b a s d")
    parts = [Op("matmul", (q, k), scores, axes("d"))]
    kinds = ["softmax", *["dropout"] * dropout]
    for mask in masks:
        parts.append(Op("add", (parts[-1].write, mask), tensor("add", "b a s t")))
    for kind in kinds:
        parts.append(Op(kind, (parts[-1].write,), tensor(kind, "b a s t")))
    parts.append(Op("matmul", (parts[-1].write, v), y, axes("t")))
    return Op("sdpa", (q, k, v, *masks), y, parts=tuple(parts))


Q, K, V = (tensor(name, "b a s d") for name in "qkv")
MASK = tensor("mask", "a s t")


@pytest.mark.parametrize(
    ("platform", "half", "masks", "dropout", "kernel"),
    [
        ("cuda", False, 0, False, "efficient"),
        ("cuda", True, 0, False, "flash"),
        ("cuda", True, 0, True, "flash"),
        # the flash kernel of a card takes no mask
        ("cuda", True, 1, False, "efficient"),
        ("cpu", False, 0, False, "flash"),
        # a CPU's has no dropout and takes no mask of three axes
        ("cpu", False, 0, True, ""),
        ("cpu", False, 1, False, ""),
    ],
)
def test_torch_chooses_a_kernel(
    platform: str, half: bool, masks: int, dropout: bool, kernel: str
) -> None:
    given = (MASK,) * masks
    op = attention(Q, K, V, *given, dropout=dropout)
    op = op._replace(needs=(True, True, True, *[False] * masks))
    *_, last = Kernels("sdpa", platform).ops(op, op.reads, half)
    # plain products are no kernel
    assert last.kernel == kernel
    assert last.kind == ("sdpa" if kernel else "matmul")


@pytest.mark.parametrize("asked", ["flash", "efficient", "cudnn"])
def test_a_kernel_that_is_named_is_taken(asked: str) -> None:
    (op,) = Kernels(asked, "cuda").ops(attention(Q, K, V), (Q, K, V), half=False)
    assert (op.kernel, op.reads, op.write.axes) == (asked, (Q, K, V), axes("b a s d"))


def test_the_efficient_kernel_reads_a_mask_of_aligned_rows() -> None:
    pad, cut, op = Kernels("efficient", "cuda").ops(
        attention(Q, K, V, MASK), (Q, K, V, MASK), half=False
    )
    assert (pad.kind, pad.reads, pad.write.axes) == ("pad", (MASK,), axes("a s t8"))
    # the caller has a name for its mask while the kernel runs
    assert (cut.reads, cut.write.base) == ((pad.write,), pad.write)
    assert (op.reads, op.holds) == ((Q, K, V, cut.write), (MASK,))


def test_plain_products_compute_halves_in_floats() -> None:
    def kinds(half: bool) -> list[str]:
        return [op.kind for op in Kernels("math", "cuda").ops(attention(Q, K, V), (Q, K, V), half)]

    products = ["matmul", "softmax", "matmul"]
    scaled = ["scale", "scale"]
    plain = [kind for kind in kinds(half=False) if kind not in scaled]
    assert plain == products
    # three operands are widened, the weights and the result are narrowed
    wide = [kind for kind in kinds(half=True) if kind not in scaled]
    assert wide == ["cast"] * 3 + ["matmul", "softmax", "cast", "matmul", "cast"]


@pytest.mark.parametrize(
    ("kernel", "kind", "one_image", "laid_out"),
    [
        # the efficient kernel writes the heads of a token side by side, image by image
        ("efficient", "merge", False, True),
        ("efficient", "by token", False, False),
        ("efficient", "by token", True, True),
        # the others write as their queries lie
        ("flash", "merge", False, False),
        ("flash", "by token", False, True),
    ],
)
def test_a_kernel_may_lay_its_result_out(
    kernel: str, kind: str, one_image: bool, laid_out: bool
) -> None:
    kernels, op = Kernels(kernel, "cuda"), attention(Q, K, V)
    merge = Op(kind, (op.write,), tensor("merged"))
    assert not kernels.has_laid_out(merge, one_image)
    list(kernels.ops(op, op.reads, half=False))
    assert kernels.has_laid_out(merge, one_image) == laid_out


# --- what is saved


def saved(op: Op, of: Saved | None = None) -> int:
    """The bytes that autograd keeps of an op, and that it did not keep before."""
    return sum(bytes_of(t, SIZES) for t in (of or Saved("cuda")).op(op).saves)


U, W = tensor("u", size=4), tensor("w", "b s m", size=4)
INPUT = tensor("image", role="input", size=4)


def test_a_linear_layer_keeps_its_input_for_its_weight_alone() -> None:
    op = dense(U, W)
    assert saved(op._replace(needs=(True,), trains=True)) == 4 * B * S * H
    # the gradient of the input reads the weight, a parameter, which is there anyway
    assert saved(op._replace(needs=(True,), frozen=True)) == 0
    assert saved(op._replace(reads=(INPUT,), needs=(False,), trains=True)) == 0


def test_a_product_keeps_each_factor_for_the_other_one() -> None:
    v = tensor("v", size=4)
    product = Op("mul", (U, v), tensor("y", size=4))
    both, first = (product._replace(needs=n) for n in ((True, True), (True, False)))
    assert saved(both) == 2 * 4 * B * S * H
    assert Saved("cuda").op(first).saves == (v,)


def test_a_storage_is_booked_once() -> None:
    once = Saved("cuda")
    q, k, v = (dense(U, tensor(n, size=4))._replace(needs=(True,), trains=True) for n in "qkv")
    assert [saved(op, once) for op in (q, k, v)] == [4 * B * S * H, 0, 0]
    # each of them holds it
    assert Saved("cuda").op(k).keeps == (U,)


def test_a_view_keeps_the_storage_it_is_of() -> None:
    view = Tensor("rows", axes("b h"), base=U, itemsize=4)
    op = Op("gelu", (view,), tensor("y", "b h", size=4))
    assert saved(op) == 4 * B * S * H


@pytest.mark.parametrize(
    ("kind", "platform", "again"),
    [
        # an activation keeps its input, so that its region need not run it again
        ("gelu", "cuda", "stops"),
        # a softmax keeps what it writes
        ("softmax", "cuda", "runs"),
        # a CPU draws the mask of a dropout before the product, a card in one kernel with it
        ("dropout", "cpu", "draws"),
        ("dropout", "cuda", "runs"),
        ("residual", "cuda", ""),
    ],
)
def test_how_far_a_region_runs_again(kind: str, platform: str, again: str) -> None:
    reads = (W, W) if kind == "residual" else (W,)
    mask = (tensor("mask", "b s m", "mask", size=1),) if kind == "dropout" else ()
    op = Op(kind, reads, tensor("y", "b s m", size=4), needs=(True,) * len(reads), extra=mask)
    assert Saved(platform).op(op).packs == again


def mlp(x: Tensor) -> Node:
    """fc1, GELU, fc2 and a residual add."""
    model = Module("", "Mlp", x)
    y = linear(model, "fc1", x, "m")
    y = model.leaf("act", "GELU", "gelu", y)
    y = linear(model, "fc2", y, "h")
    return model.end(model.op("residual", x, y))


@pytest.mark.parametrize(
    ("precision", "expected"),
    [
        # x, what fc1 writes, what the GELU writes
        ("fp32", 4 * B * S * (H + M + M)),
        ("half", 2 * B * S * (H + M + M)),
        # all three in halves, and fc1's and fc2's copies of their weights in halves
        ("amp", 2 * B * S * (H + M + M) + 2 * 2 * H * M),
    ],
)
def test_all_passes_together_on_an_mlp(precision: str, expected: int) -> None:
    x = tensor("x")
    walk = Walk(training=True, precision=precision)
    # a stream that a gradient flows back to
    walk.needs.flows[x] = True
    assert fold(walk.node(mlp(x)), SIZES).cost.saved_bytes == expected


def test_a_checkpointed_region_keeps_its_input_alone() -> None:
    x = tensor("x")
    inner = mlp(x)
    region = Node("", "Checkpoint", inner.body, (x,), inner.output)
    walk = Walk(training=True)
    walk.needs.flows[x] = True
    low = walk.node(Node("", "Model", (region,), (x,), inner.output))
    assert fold(low, SIZES).cost.saved_bytes == 4 * B * S * H
    # the last linear layer keeps its input, which is there before it runs
    again = {op.kind: op.again for op in ops_of(low) if op.kind != "checkpoint"}
    assert again == {"linear": "stops", "gelu": "runs", "residual": "stops"}


# --- timm's classes


def test_each_class_that_a_config_may_follow_has_one_row() -> None:
    assert tuple(CLASSES) == FIELDS["model_class"][1].choices
    assert all(name == row.name for name, row in CLASSES.items())


def test_children_that_a_module_registers_later_are_told_in_that_order() -> None:
    m = Module("", "Model", tensor("x"))
    for name in ("late", "first", "later"):
        m.parameter(name, "h")
    m.registers("late", "later")
    found = [each.tensor.name for each in parameters(m.end(m.inputs[0]))]
    assert found == ["first", "late", "later"]
