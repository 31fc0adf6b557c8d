"""Traces of torch modules against real CPU tensors, and the rules that make a fake one equal."""

import json
import sys
from collections.abc import Iterator
from contextlib import suppress
from itertools import cycle
from pathlib import Path
from subprocess import run
from typing import Any

import pytest
import torch
from timm_support import timm
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.profiler import ProfilerActivity, profile
from traced_modules import CASES, QUICK
from traced_support import real, traced

import vitcost
from vitcost.config.scenario import Scenario
from vitcost.engine import live
from vitcost.engine.ops import Sizes
from vitcost.engine.workload import workload
from vitcost.errors import ConfigError, NotCovered, VitcostError
from vitcost.traced import card, replayed
from vitcost.traced.alive import all_events, upper
from vitcost.traced.autocast import AUTOCAST
from vitcost.traced.batch_sizes import through, value
from vitcost.traced.chosen_loss import Loss
from vitcost.traced.corrections import as_real
from vitcost.traced.file import TraceFile, checksum, read, unpacked
from vitcost.traced.inputs import inputs_of, parse
from vitcost.traced.module_rows import rows
from vitcost.traced.trace import How
from vitcost.traced.trace_writer import packed, write
from vitcost.traced.traces import LINES, trace
from vitcost.zoo import resolve, trace_file

torch.set_num_threads(1)


def built(make: Any) -> nn.Module:
    with torch.device("meta"):
        model: nn.Module = make()
    return model


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "precision"), list(zip(QUICK, cycle(["fp32", "amp-bf16"]), strict=False))
)
def test_a_step_is_that_of_real_tensors(name: str, precision: str) -> None:
    case = CASES[name]
    model = built(case.make)
    loss = None if case.loss is None else Loss(case.loss, "own")
    how = How(precision=precision, platform="cpu")
    found = traced(trace(model, inputs_of(model, case.inputs), (2,), how, loss, name=name), 2)
    half = torch.bfloat16 if precision == "amp-bf16" else None
    own = case.loss
    given = None if own is None else lambda output, batch: own(output)
    torch.manual_seed(0)
    assert found == real(case.make(), case.inputs, 2, half, given)


class _Products(torch.autograd.Function):
    """Its own backward adds two products, and holds both until it returns."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return x * 2

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        first, second = gradient * 2, gradient * ctx.saved_tensors[0]
        added = first + second
        del first, second
        return added.clone()


class _OfProducts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.head = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = _Products.apply(x * self.scale)
        z: torch.Tensor = self.head(y.flatten(1)[:, :4])
        return z


def test_a_backward_of_python_adds_out_of_place() -> None:
    """autograd's engine adds gradients in place; what the user's own backward adds is a third
    tensor beside the two."""
    model = built(_OfProducts)
    found = traced(trace(model, inputs_of(model, "1x32x32"), (2,), How(platform="cpu")), 2)
    assert found == real(_OfProducts(), lambda batch: torch.zeros(batch, 1, 32, 32), 2)


@pytest.mark.parametrize("name", ["U-shaped segmenter", "attention with a learned mask"])
def test_a_call_that_is_made_again_lies_as_the_first(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = CASES[name]
    model = built(case.make)
    how = How(precision="amp-bf16")
    monkeypatch.setattr(replayed, "_KNOWN", {})
    again = [trace(model, inputs_of(model, case.inputs), (2,), how) for _ in range(2)]
    assert replayed._KNOWN
    monkeypatch.setattr(replayed, "_replayable", lambda func: False)
    assert again == 2 * [trace(model, inputs_of(model, case.inputs), (2,), how)]


def test_attention_math_is_torch_s_own_of_plain_products() -> None:
    case = CASES["attention with a learned mask"]
    model = built(case.make)
    how = How(platform="cpu", attention="math")
    found = traced(trace(model, inputs_of(model, case.inputs), (2,), how), 2)
    torch.manual_seed(0)
    with sdpa_kernel(SDPBackend.MATH):
        assert found == real(case.make(), case.inputs, 2)


def test_gradients_of_a_grouped_convolution_have_the_products_of_its_forward() -> None:
    # layer, groups, and the products of one element of its weight: positions that it is applied to
    first = nn.Conv2d(4, 8, 3)
    layers: tuple[tuple[nn.Module, int, int], ...] = (
        (nn.Conv2d(8, 8, 3, groups=8), 8, 4 * 4),
        (nn.Conv2d(8, 8, 1, groups=2, padding=1), 2, 8 * 8),
        (nn.Conv2d(8, 16, 3, groups=2, padding=1), 2, 6 * 6),
        (nn.ConvTranspose2d(8, 16, 3, groups=4, stride=2), 4, 6 * 6),
        (nn.ConvTranspose2d(8, 8, 3, groups=2), 2, 6 * 6),
        (nn.ConvTranspose2d(8, 4, 3), 1, 6 * 6),
        (nn.Conv2d(8, 2, 1), 1, 6 * 6),
    )
    # 36 products for each of 8 · 36 outputs; the image needs no gradient
    stem = 2 * 3 * 36 * 36 * 8
    for layer, groups, positions in layers:
        weight = layer.get_parameter("weight")
        products = 2 * 3 * weight.numel() * positions
        for trains in (True, False):
            weight.requires_grad_(trains)
            model = nn.Sequential(first, layer)
            found = trace(model, inputs_of(model, "4x8x8"), (3,), How(platform="cpu")).step
            assert found is not None
            cost = rows(found, (), 3).cost
            assert cost.backward_flops == cost.executed_backward_flops
            assert cost.backward_flops == stem + products * (2 if trains else 1)
            torchs = sum(value(found.operators[n].flops, 3) for n, _ in found.calls)
            torchs -= cost.flops + cost.backward_flops
            assert torchs == (groups - 1) * products * trains


@pytest.mark.parametrize("op", ["native_layer_norm", "native_group_norm", "native_batch_norm"])
def test_statistics_of_a_norm_are_as_wide_as_its_weights(op: str) -> None:
    def outputs() -> list[torch.dtype]:
        x = torch.empty(2, 8, 4, 4, dtype=torch.bfloat16)
        w, b, s = torch.ones(8), torch.zeros(8), torch.ones(8)
        given: dict[str, tuple[Any, ...]] = {
            "native_layer_norm": (x.transpose(1, 3).contiguous(), [8], w, b, 1e-5),
            "native_group_norm": (x, w, b, 2, 8, 16, 2, 1e-5),
            "native_batch_norm": (x, w, b, s.clone(), s.clone(), True, 0.1, 1e-5),
        }
        func = getattr(torch.ops.aten, op).default
        return [t.dtype for t in as_real(func, given[op], func(*given[op]))]

    with FakeTensorMode():
        fake = outputs()
    assert fake == outputs() == [torch.bfloat16, torch.float32, torch.float32]


def test_a_group_norm_writes_its_gradient_as_its_input_is() -> None:
    def found() -> list[Any]:
        x, gradient = (torch.ones(2, 8, 4, 4, dtype=torch.bfloat16) for _ in range(2))
        own, statistics = torch.ones(8), torch.ones(2, 2)
        func = torch.ops.aten.native_group_norm_backward.default
        outputs = []
        for a, b in ((0, 0), (1, 0), (1, 1), (0, 1)):
            g, y = (t.to(memory_format=(torch.contiguous_format, torch.channels_last)[last])
                    for t, last in ((gradient, a), (x, b)))  # fmt: skip
            given = (g, y, statistics, statistics, own, 2, 8, 16, 2, [True, True, True])
            outputs += [(t.dtype, t.stride()) for t in as_real(func, given, func(*given))]
        return outputs

    with FakeTensorMode():
        fake = found()
    assert fake == found()


def test_a_convolution_of_a_card_writes_in_the_order_of_its_map_or_weight() -> None:
    """cudnn_conv_suggest_memory_format in aten's ConvUtils.h; of fp64 the channels lie apart."""
    func, last = torch.ops.aten.convolution.default, torch.channels_last
    card.install()

    def order(map_last: bool, weight_last: bool, dtype: torch.dtype) -> tuple[int, ...]:
        x, w = torch.empty(2, 8, 5, 5, dtype=dtype), torch.empty(4, 8, 3, 3, dtype=dtype)
        x = x.to("card", memory_format=last if map_last else torch.contiguous_format)
        w = w.to("card", memory_format=last if weight_last else torch.contiguous_format)
        given = (x, w, None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1)
        return tuple(as_real(func, given, func(*given)).stride())

    with FakeTensorMode():
        for map_last in (False, True):
            for weight_last in (False, True):
                pixels = (36, 1, 12, 4) if map_last or weight_last else (36, 9, 3, 1)
                assert order(map_last, weight_last, torch.float16) == pixels
                assert order(map_last, weight_last, torch.float64) == (36, 9, 3, 1)


@pytest.mark.parametrize("reduction", [0, 1, 2], ids=["none", "mean", "sum"])
@pytest.mark.parametrize(
    "loss",
    ["mse_loss", "smooth_l1_loss", "huber_loss", "soft_margin_loss", "binary_cross_entropy"],
)
def test_a_loss_of_one_number_lies_on_the_storage_of_all_elements(
    loss: str, reduction: int
) -> None:
    op = getattr(torch.ops.aten, loss).default
    given = {"reduction": reduction}

    def storage() -> int:
        x, y = torch.rand(5, 7), torch.rand(5, 7)
        output: torch.Tensor = as_real(op, (x, y), op(x, y, **given))
        return output.untyped_storage().nbytes()

    real = op(torch.rand(5, 7), torch.rand(5, 7), **given).untyped_storage().nbytes()
    with FakeTensorMode():
        assert storage() == real
    assert (real > 4) == (reduction == 0 or loss != "huber_loss")


@pytest.mark.parametrize("stride", [1, 3, 4])
@pytest.mark.parametrize("op", ["col2im", "im2col"])
def test_a_fold_lies_on_the_storage_of_what_it_reads(op: str, stride: int) -> None:
    """Places of 3 x 3 pixels in a map of 12 x 12: they overlap, are beside each other, or apart."""
    places = ((12 - 3) // stride + 1) ** 2
    size = [[12, 12]] if op == "col2im" else []
    shape = (2, 5 * 9, places) if op == "col2im" else (2, 5, 12, 12)
    func = getattr(torch.ops.aten, op).default
    rest = (*size, [3, 3], [1, 1], [0, 0], [stride, stride])

    def bytes_of(rule: Any) -> int:
        x = torch.rand(shape)
        output: torch.Tensor = rule(x, func(x, *rest))
        return output.untyped_storage().nbytes()

    real = bytes_of(lambda x, y: y)
    with FakeTensorMode():
        assert bytes_of(lambda x, y: as_real(func, (x, *rest), y)) == real


def test_a_layer_norm_writes_its_gradient_in_order() -> None:
    def strides() -> tuple[int, ...]:
        x = torch.ones(2, 6, 4)
        mean, deviation = torch.ones(2, 6, 1), torch.ones(2, 6, 1)
        gradient = torch.ones(2, 4, 6).transpose(1, 2)
        func = torch.ops.aten.native_layer_norm_backward.default
        weight = torch.ones(4)
        given = (gradient, x, [4], mean, deviation, weight, weight, [True, True, True])
        return tuple(as_real(func, given, func(*given))[0].stride())

    with FakeTensorMode():
        fake = strides()
    assert fake == strides() == (24, 4, 1)


def test_copies_of_weights_go_with_the_region_that_ran_again() -> None:
    """torch's checkpoint runs a region again under an autocast of its own, behind which the cache
    is cleared: the copies of one block at a time, as the formula has it."""
    with torch.device("meta"):
        model = timm().create_model("vit_tiny_patch16_224", depth=6, img_size=64)
    how = How(precision="amp-bf16", platform="cuda", checkpointing="block")
    found = trace(model, inputs_of(model), (2,), how, name="ViT-Ti").step
    assert found is not None
    config = resolve("vit_tiny_patch16_224", depth=6, img_size=64).config
    scenario = Scenario(batch=2, precision="amp-bf16", checkpointing="block", mode="train")
    run = workload(config, scenario)
    formula = live.peak(run.step(), run.sizes)
    assert live.peak(upper(found), Sizes(b=2)).peak_bytes == formula.peak_bytes


class _Turned(nn.Module):
    """A linear layer of turned rows, whose weight has no gradient to take."""

    def __init__(self, without: Any) -> None:
        super().__init__()
        self.without, self.fc = without, nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with self.without():
            return self.fc(x.mT)


@pytest.mark.parametrize("without", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("dtype", [None, torch.bfloat16], ids=["fp32", "autocast"])
def test_a_weight_without_a_gradient_to_take_decides_whether_rows_are_copied(
    without: Any, dtype: torch.dtype | None
) -> None:
    """autocast_mode.cpp caches a copy with a graph under no_grad, and none in inference mode; a
    parameter is what it is in both."""
    model, x = _Turned(without), torch.rand(2, 8, 6)
    amp = torch.autocast("cpu", dtype or torch.bfloat16, enabled=dtype is not None)
    with profile(activities=[ProfilerActivity.CPU]) as profiler, torch.no_grad(), amp:
        model(x)
    ran = {name.removeprefix("aten::") for name in (e.name for e in profiler.events() or ())}
    how = How(precision="fp32" if dtype is None else "amp-bf16")
    operators = trace(model, inputs_of(model, x), (2,), how).inference.operators
    kinds = {"clone", "mm", "bmm"}
    assert kinds & {o.name for o in operators} == kinds & ran
    assert ("clone" in ran) == (dtype is None or without is torch.no_grad)


def test_autocast_of_a_card_has_the_lists_of_cuda() -> None:
    """torch registers autocast's kernels for CUDA in every build; those left out are called by
    cuDNN's own path alone."""
    has = torch._C._dispatch_has_kernel_for_dispatch_key
    every = [name for name in torch._C._dispatch_get_all_op_names() if name.startswith("aten::")]
    cuda = {name[6:] for name in every if has(name, "AutocastCUDA")}
    ours = {name for names in AUTOCAST.values() for name in names}
    inner = {"cudnn_convolution", "cudnn_convolution_transpose", "_thnn_fused_gru_cell",
             "_thnn_fused_lstm_cell"}  # fmt: skip
    assert cuda - ours == inner
    assert not ours - cuda


def test_a_card_pads_a_mask_and_fuses_a_norm() -> None:
    """aten's attention.cpp: rows of a multiple of 8; layer_norm.cpp: one kernel for an RMS norm."""

    class Biased(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.bias = nn.RMSNorm(16), nn.Parameter(torch.zeros(1, 2, 9, 9))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            q = self.norm(x).unflatten(-1, (2, 8)).transpose(1, 2)
            return functional.scaled_dot_product_attention(q, q, q, self.bias).transpose(1, 2)

    model = built(Biased)
    found = trace(model, inputs_of(model, "9x16"), (2,))
    assert found.step is not None
    names = [found.step.operators[number].name for number, _ in found.step.calls]
    assert names[:3] == ["_fused_rms_norm", "constant_pad_nd",
                         "_scaled_dot_product_efficient_attention"]  # fmt: skip
    assert found.step.kernels == ("efficient",)


def test_sizes_are_lines_in_the_batch() -> None:
    case = CASES["U-shaped segmenter"]
    model = built(case.make)
    inputs = inputs_of(model, case.inputs)
    lines = trace(model, inputs, LINES).step
    assert lines is not None
    for batch in (7, 64):
        fresh = trace(model, inputs, (batch,)).step
        assert fresh is not None
        one, two = (live.peak(upper(p), Sizes(b=batch)) for p in (lines, fresh))
        assert one == two._replace(look=one.look)
        assert rows(lines, (), batch).cost == rows(fresh, (), batch).cost
        assert value(lines.batch_bytes, batch) == value(fresh.batch_bytes, batch)


def test_a_contrastive_loss_is_a_square_of_the_batch() -> None:
    case = CASES["two towers, contrastive"]
    model = built(case.make)
    assert case.loss is not None
    inputs, loss = inputs_of(model, case.inputs), Loss(case.loss, "contrastive")
    lines = trace(model, inputs, (2, 3, 4, 5), loss=loss).step
    fresh = trace(model, inputs, (33,), loss=loss).step
    assert lines is not None
    assert fresh is not None
    assert max(map(len, lines.sizes)) == 3
    assert live.peak(upper(lines), Sizes(b=33))[:3] == live.peak(upper(fresh), Sizes(b=33))[:3]


def test_the_upper_looks_have_the_peak_of_all() -> None:
    case = CASES["convnext"]
    model = built(case.make)
    lines = trace(model, inputs_of(model, case.inputs), LINES).step
    assert lines is not None
    for batch in (1, 2, 5, 100):
        sizes = Sizes(b=batch)
        one, two = live.peak(upper(lines), sizes), live.peak(all_events(lines), sizes)
        assert one == two._replace(look=one.look)


def test_what_is_no_polynomial_is_refused_by_its_operator() -> None:
    class Powers(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (x.new_ones(2 ** len(x)) * x.sum()).cumsum(0).mean()

    model = nn.Sequential(nn.Linear(3, 3), Powers())
    inputs = inputs_of(model, "3")
    assert trace(model, inputs, (2,)).step is not None
    with pytest.raises(NotCovered, match=r"new_ones in 1, forward.* is no polynomial in the batch"):
        trace(model, inputs, (2, 3, 4, 5))


def test_what_stops_a_trace_is_told() -> None:
    class Gate(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if x.max().item() > 1:
                x = x * 2
            return x

    model = nn.Sequential(nn.Linear(3, 4), Gate())
    with pytest.raises(NotCovered) as told:
        trace(model, inputs_of(model, "3"), (2,), name="mine:make")
    message = str(told.value)
    for word in ("mine:make", "_local_scalar_dense", "in 1, forward", "test_traced.py, line",
                 "if x.max().item() > 1:", "16 parameters", "48 FLOPs", "--input"):  # fmt: skip
        assert word in message


def test_a_mask_that_is_written_into_is_no_longer_of_finite_numbers() -> None:
    class Written(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            good = torch.isfinite(x)
            assert good.all()
            good[0] = x[0] > 0
            return x * 2 if good.all() else x

    model = nn.Sequential(nn.Linear(3, 4), Written())
    with pytest.raises(NotCovered, match=r"_local_scalar_dense.*if good.all\(\) else x"):
        trace(model, inputs_of(model, "3"), (2,))


def test_an_empty_cache_is_a_tensor_of_the_card() -> None:
    class Cached(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.cat([torch.tensor([], dtype=x.dtype, device=x.device), x])

    model = nn.Sequential(nn.Linear(3, 4), Cached())
    found = trace(model, inputs_of(model, "3"), (2,))
    assert [o.name for o in found.inference.operators][-1] == "cat"


def test_one_image_cannot_train_a_batch_norm() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    found = trace(model, inputs_of(model, "3"), (1,))
    assert found.step is None
    assert "a batch norm cannot train on one image" in found.missing


def test_a_module_stays_as_it_is() -> None:
    torch.manual_seed(0)

    class Caching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.seen, self.table = nn.Linear(3, 3), [0], torch.ones(3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.seen.append(len(x))
            self.cache = x.new_zeros(3)
            return self.layer(x * self.table.to(x.device) + torch.rand(3, device=x.device))

    model = Caching().eval()
    before = {key: t.clone() for key, t in model.state_dict().items()}
    state, attributes = torch.get_rng_state(), set(vars(model))
    trace(model, inputs_of(model, "3"), (2,))
    assert not model.training
    assert torch.equal(torch.get_rng_state(), state)
    assert (set(vars(model)), model.seen) == (attributes, [0])
    assert all(torch.equal(t, before[key]) for key, t in model.state_dict().items())
    assert all(p.grad is None and type(p) is nn.Parameter for p in model.parameters())


def test_caches_of_a_first_step_are_there_in_a_second() -> None:
    class Caching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.table = nn.Linear(3, 3), torch.zeros(1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if len(self.table) != 1000:
                self.table = torch.zeros(1000, device=x.device)
            return self.layer(x) + self.table[:3]

    model = Caching()
    found = trace(model, inputs_of(model, "3"), (2,))
    assert [b.shape for b in found.buffers] == [(1000,)]
    assert live.peak(upper(found.inference), Sizes(b=2)).peak_bytes == 2 * 3 * 4 * 2


def test_what_a_forward_in_eval_leaves_is_not_there_in_training(tmp_path: Path) -> None:
    """LeViT keeps the biases of its attention in eval, and puts them together in each step."""

    class Biased(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bias = nn.Parameter(torch.zeros(4))
            self.kept: dict[str, torch.Tensor] = {}
            self.tables = [torch.zeros(3), torch.zeros(5)]

        def train(self, mode: bool = True) -> "Biased":
            self.kept = {} if mode else self.kept
            return super().train(mode)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if self.training:
                return x + self.bias.repeat(250)
            if "bias" not in self.kept:
                self.kept["bias"] = self.bias.repeat(250)
            return x + self.kept["bias"]

    model = vitcost.from_torch(Biased(), inputs="1000")
    trace_file.trace(model, output=str(tmp_path / "own.json"))
    for asked in (model, str(tmp_path / "own.json")):
        found = vitcost.report(asked, batch=2)
        # two tables of 3 and 5, and what eval keeps
        assert found.inference.buffers_bytes == 4 * (3 + 5 + 1000)
        assert found.training.buffers_bytes == 4 * (3 + 5)


def test_a_module_that_keeps_a_buffer_as_it_is_keeps_it() -> None:
    """``Module.to`` asks each module, and timm's rotary tables stay in fp32."""

    class Table(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("turns", torch.zeros(5))

        def _apply(self, fn: Any, recurse: bool = True) -> nn.Module:
            return self

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.turns.sum().to(x.dtype)

    model = nn.Sequential(nn.Linear(3, 4), Table())
    found = trace(model, inputs_of(model, "3"), (2,), How(precision="bf16"))
    assert [(w.path, w.dtype) for w in (*found.weights, *found.buffers)] == [
        ("0.weight", "bfloat16"), ("0.bias", "bfloat16"), ("1.turns", "float32"),
    ]  # fmt: skip
    assert {t.dtype for t in model.parameters()} == {torch.float32}


def test_a_buffer_that_a_forward_makes_lasts() -> None:
    class Grown(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 3)
            self.register_buffer("table", torch.zeros(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if len(self.table) != 1000:
                self.table = torch.zeros(1000, device=x.device)
            return self.layer(x) + self.table[:3]

    model = Grown()
    found = trace(model, inputs_of(model, "3"), (2,), How(platform="cpu"))
    assert [b.shape for b in found.buffers] == [(1000,)]
    assert live.peak(upper(found.inference), Sizes(b=2)).peak_bytes == 2 * 3 * 4 * 2


@pytest.mark.parametrize(
    ("given", "word"),
    [("3x", "SHAPE"), ("a=3:float", "dtype"), ("3x0", "from 1 to"), ("9" * 30, "larger"),
     ("", "SHAPE"), ("3,4", "SHAPE")],
)  # fmt: skip
def test_an_input_that_cannot_be_is_refused(given: str, word: str) -> None:
    with pytest.raises(VitcostError, match=word):
        parse([given])


def test_inputs_by_name() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 3)

        def forward(self, image: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
            return self.layer(image) * scale

    model = Two()
    found = trace(model, inputs_of(model, ["image=3", "scale=1:int64"]), (2,))
    assert found.inference.batch_bytes == (2 * 3 * 4 + 2 * 8,)
    with pytest.raises(ConfigError, match=r"takes no ids: image, scale"):
        inputs_of(model, ["image=3", "ids=1"])
    with pytest.raises(ConfigError, match="share axis 0"):
        inputs_of(model, (torch.ones(2, 3), torch.ones(3, 1)))
    examples = inputs_of(model, (torch.ones(2, 3), torch.ones(2, 1)))
    assert trace(model, examples, (5,)).inference.batch_bytes == (5 * 4 * 4,)


def test_polynomials_go_through_their_points() -> None:
    assert through([2, 3, 4, 5], [b * b - b + 7 for b in (2, 3, 4, 5)]) == (7, -1, 1)
    assert through([2, 4], [1, 2]) is None


def test_a_trace_is_read_without_torch(tmp_path: Any) -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 5))
    found = trace(model, inputs_of(model, "3"), LINES, name="mine")
    path = tmp_path / "mine.json.gz"
    for name in (str(path), str(tmp_path / "mine.json")):
        write(name, TraceFile("mine", "here", "abc", ((How(), found),)))
        assert read(name).traces == ((How(), found),)
    code = (
        "import sys; from vitcost.traced.file import read;"
        "from vitcost.traced.module_rows import rows;"
        "from vitcost.traced.alive import upper;"
        f"how, trace = read({str(path)!r}).traces[0]; upper(trace.step);"
        "print(rows(trace.step, trace.weights, 7).cost.flops, 'torch' in sys.modules)"
    )
    done = run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(7 * 2 * (3 * 4 + 4 * 5)), "False"]


def _damages(data: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every key left out, and every value another one."""
    for key, held in data.items():
        yield key, {k: v for k, v in data.items() if k != key}
        for wrong in (None, "", -1, [], {}, [None], 10**9):
            if type(wrong) is not type(held):
                yield key, {**data, key: wrong}
        if isinstance(held, dict):
            for name, inner in _damages(held):
                yield f"{key}.{name}", {**data, key: inner}
        elif isinstance(held, list) and held and isinstance(held[0], dict):
            for name, inner in _damages(held[0]):
                yield f"{key}.{name}", {**data, key: [inner, *held[1:]]}


def test_a_damaged_trace_is_one_message() -> None:
    model = nn.Sequential(nn.Linear(3, 4))
    found = trace(model, inputs_of(model, "3"), (2,))
    good = json.loads(json.dumps(packed(TraceFile("mine", "here", "abc", ((How(), found),)))))
    assert unpacked(good, "x").traces[0][1] == found
    for where, bad in _damages(good):
        with pytest.raises(ConfigError, match=r"^x: "):
            pytest.fail(f"{where}: {unpacked(bad, 'x')}")
        # somebody may have summed it up again: no other error comes through
        with suppress(ConfigError):
            told = {key: value for key, value in bad.items() if key != "checksum"}
            unpacked({**bad, "checksum": checksum(told)}, "x")
    later = {**good, "schema": "vitcost.trace/2"}
    with pytest.raises(ConfigError, match=r"vitcost.trace/2.*reads vitcost.trace/1"):
        unpacked(later, "x")


def test_a_gradient_inside_a_forward_is_traced_by_the_rules_of_a_cpu_alone() -> None:
    """A penalty on the gradient by the input."""

    class Penalty(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(48, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = x.requires_grad_(True)
            with torch.enable_grad():
                y = self.layer(x)
                (gradient,) = torch.autograd.grad(y.sum(), x, create_graph=True)
            return y + gradient.norm(dim=1, keepdim=True)

    model = Penalty()
    step = trace(model, inputs_of(model, "48"), (2, 3, 4), How(platform="cpu")).step
    assert step is not None
    with pytest.raises(NotCovered, match=r"has a trace under --platform cpu alone"):
        trace(model, inputs_of(model, "48"), (2, 3, 4))
