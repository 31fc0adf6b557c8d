"""What autograd holds of a real forward pass, and models that train in every way there is."""

import contextlib
import ctypes
import weakref
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from alive import looks
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from vitcost.check import reference
from vitcost.check.checkpointed import checkpointed
from vitcost.check.step_witnesses import Step
from vitcost.check.trainable_models import adapted, frozen
from vitcost.config.scenario import Scenario
from vitcost.config.vit_config import ViTConfig
from vitcost.engine.cost import Row, fold
from vitcost.engine.lower import lower
from vitcost.engine.model import sizes_of, structure_of
from vitcost.engine.tree import Node
from vitcost.engine.workload import mode_of

HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}
AMP = {"amp-bf16": torch.bfloat16, "amp-fp16": torch.float16}


class Recipe(NamedTuple):
    """Which parts train, and which run again in the backward pass."""

    checkpointing: str = "none"
    freeze: str = "none"
    lora: int = 0
    lora_layers: str = "qkv,proj"


PLAIN = Recipe()


class _Held:
    """What autograd holds in place of a tensor; gone when autograd lets it go.

    It has the storage alone: an output that is held by its own graph would never be freed.
    """

    __slots__ = ("__weakref__", "storage")

    def __init__(self, tensor: Tensor) -> None:
        self.storage = tensor.untyped_storage()


def _never(handle: _Held) -> Tensor:
    raise AssertionError("nothing runs backward here")


def held_bytes(run: Callable[[], Any], own: Iterable[Tensor]) -> int:
    """Bytes that autograd holds once something has run: each storage once, one's own apart."""
    handles: list[weakref.ref[_Held]] = []

    def pack(tensor: Tensor) -> _Held:
        handle = _Held(tensor)
        handles.append(weakref.ref(handle))
        return handle

    with torch.autograd.graph.saved_tensors_hooks(pack, _never):
        output = run()
    known = {t.untyped_storage()._cdata for t in own}
    held = [handle.storage for ref in handles if (handle := ref()) is not None]
    total = sum({s._cdata: s.nbytes() for s in held if s._cdata not in known}.values())
    del output
    return total


@contextlib.contextmanager
def running(precision: str, attention: str) -> Iterator[None]:
    """torch's autocast on the CPU, and the attention kernel where one is forced."""
    kernel = sdpa_kernel([SDPBackend.MATH]) if attention == "math" else contextlib.nullcontext()
    dtype = AMP.get(precision, torch.bfloat16)
    with torch.autocast("cpu", dtype, enabled=precision in AMP), kernel:
        yield


def cross_entropies(output: Any, classes: Tensor) -> Tensor:
    """The loss on class indices, of every head."""
    heads = output if isinstance(output, tuple) else (output,)
    return torch.stack([functional.cross_entropy(y, classes) for y in heads]).sum()


def model_of(config: ViTConfig, fused: bool, recipe: Recipe = PLAIN) -> nn.Module:
    """The reference model in training mode, frozen, adapted and checkpointed by a recipe."""
    return treated(reference.build(config, fused), recipe)


def treated(model: nn.Module, recipe: Recipe) -> nn.Module:
    """A model in training mode, frozen, adapted and checkpointed by a recipe."""
    freeze = "backbone" if recipe.lora and recipe.freeze == "none" else recipe.freeze
    frozen(model.train(), freeze)
    if recipe.lora:
        adapted(model, recipe.lora, recipe.lora_layers)
    return checkpointed(model, recipe.checkpointing)


def has_fake_cards() -> bool:
    """Whether this torch keeps its device guards where they can be reached; private, so pinned."""
    return torch.__version__.startswith("2.13.") and not torch.cuda.is_available()


@contextlib.contextmanager
def fake_card(precision: str) -> Iterator[FakeTensorMode]:
    """Fake tensors on a CUDA device that is not there, under torch's own autocast for CUDA.

    A CPU build has no device guard for CUDA, which autograd and autocast ask for. The one of the
    meta device does nothing, and does.
    """
    lib = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libc10.so"))
    guards = (ctypes.c_void_p * 22).in_dll(lib, "_ZN3c104impl26device_guard_impl_registryE")
    cuda, meta = 1, 14  # c10/core/DeviceType.h
    before, guards[cuda] = guards[cuda], guards[meta]
    torch.set_autocast_enabled("cuda", precision in AMP)
    torch.set_autocast_dtype("cuda", AMP.get(precision, torch.bfloat16))
    torch.autocast_increment_nesting()
    try:
        with FakeTensorMode() as mode:
            yield mode
    finally:
        if torch.autocast_decrement_nesting() == 0:
            torch.clear_autocast_cache()
        torch.set_autocast_enabled("cuda", False)
        guards[cuda] = before


def move(model: nn.Module) -> nn.Module:
    """A model whose parameters and buffers lie on the fake card."""
    for module in model.modules():
        for name, own in module._parameters.items():
            if own is not None:
                new = torch.empty(own.shape, dtype=own.dtype, device="cuda")
                module._parameters[name] = nn.Parameter(new)
        for name, own in module._buffers.items():
            if own is not None:
                module._buffers[name] = torch.empty(own.shape, dtype=own.dtype, device="cuda")
    return model


def card_attention(kernel: str) -> contextlib.ExitStack:
    """Calls a card's kernel where a model asks for attention: a fake card gets the math one."""

    def attend(
        q: Tensor,
        k: Tensor,
        v: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
    ) -> Tensor:
        if torch.is_autocast_enabled("cuda"):
            low = torch.get_autocast_dtype("cuda")
            q, k, v = q.to(low), k.to(low), v.to(low)
            attn_mask = attn_mask if attn_mask is None else attn_mask.to(low)
        aten = torch.ops.aten
        if kernel == "flash":
            # attention.cpp, pad_last_dim: heads of a multiple of 8
            d = q.shape[-1]
            if d % 8:
                q, k, v = (functional.pad(t, (0, 8 - d % 8)) for t in (q, k, v))
            y = aten._scaled_dot_product_flash_attention(
                q, k, v, dropout_p, is_causal, scale=scale or d**-0.5
            )[0]
            return y.narrow(-1, 0, d) if d % 8 else y
        if kernel == "cudnn":
            cudnn = aten._scaled_dot_product_cudnn_attention
            return cudnn(q, k, v, attn_mask, True, dropout_p, is_causal, False, scale=scale)[0]
        if attn_mask is not None:
            # attention.cpp, preprocess_mask: rows of a multiple of 8
            n = attn_mask.shape[-1]
            if n % 8:
                attn_mask = functional.pad(attn_mask, (0, 8 - n % 8))[..., :n]
            attn_mask = attn_mask.expand(*q.shape[:3], k.shape[2])
        efficient = aten._scaled_dot_product_efficient_attention
        kept = torch.is_grad_enabled()
        return efficient(q, k, v, attn_mask, kept, dropout_p, is_causal, scale=scale)[0]

    stack = contextlib.ExitStack()
    for module in (functional, reference):
        stack.enter_context(patch.object(module, "scaled_dot_product_attention", attend))
    return stack


def scenario(batch: int, precision: str, attention: str, recipe: Recipe = PLAIN) -> Scenario:
    """A training step on a CPU."""
    return Scenario(
        batch=batch,
        mode="train",
        precision=precision,
        attention=attention,
        platform="cpu",
        **recipe._asdict(),
    )


def folded(config: ViTConfig, how: Scenario) -> tuple[Row, Node]:
    """The rows of a model under a scenario, and the lowered tree that they are of."""
    tree = lower(structure_of(config, how.batch, True), mode_of(config, how))
    return fold(tree, sizes_of(config, how.batch)), tree


def block_of(row: Row) -> Row:
    """The last run of blocks, which drop their paths where there is any."""
    blocks = next(child for child in row.children if child.path == "blocks")
    return blocks.children[-1]


def image(config: ViTConfig, how: Scenario) -> Tensor:
    """A batch of images, in the precision of the parameters."""
    dtype = HALF.get(how.precision, torch.float32)
    return torch.zeros(how.batch, config.in_chans, *config.image, dtype=dtype)


def prepared(model: nn.Module, precision: str) -> nn.Module:
    """A model in the precision of its parameters."""
    return model.to(HALF[precision]) if precision in HALF else model


def most_alive(step: Step) -> int:
    """The tensors in memory before and after a step, and the most bytes beside them in it."""
    kept = {t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in step.lasting}
    return sum(kept.values()) + max(looks(step))
