"""The flags of a scenario that a module's own state sets: its type, its attention, its
checkpointing, its parameters that train, whether it is compiled.

If no flag describes a state of the module, ``NotCovered`` is raised: the module has no formula
then.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from vitcost.errors import NotCovered
from vitcost.zoo.read_layers import need

if TYPE_CHECKING:
    from torch import nn

__all__ = ["flags_of"]

_PRECISIONS = {"torch.float32": "", "torch.float16": "fp16", "torch.bfloat16": "bf16"}
# transformers' names for attention
_ATTENTIONS = {"sdpa": "", "eager": "eager", "flash_attention_2": "flash"}
# names of lists of blocks, and paths of heads, in timm, torchvision and transformers
_BLOCKS = ("blocks", "layers", "layer")
_HEADS = (
    "head.", "head_dist.", "heads.head.", "heads.weight", "heads.bias", "classifier.",
    "cls_classifier.", "distillation_classifier.", "visual_projection.",
)  # fmt: skip
# parameters that get no gradient, even with requires_grad True
_IDLE = ("mask_token",)


def flags_of(module: "nn.Module", trained: Callable[[str], int]) -> dict[str, Any]:
    """The flags that the module's own state sets; empty if the module is as it was built.
    ``trained`` gives the parameters that train in the formula under a ``freeze``."""
    return {
        **_precision(module),
        **_attention(module),
        **_checkpointing(module),
        **_freeze(module, trained),
        **_compiled(module),
    }


def _compiled(module: "nn.Module") -> dict[str, bool]:
    """``module.compile()`` replaces the module's call, not its forward."""
    paths = [path for path, m in module.named_modules() if m._compiled_call_impl is not None]
    need(paths in ([], [""]), f"{', '.join(paths)}: compiled by itself")
    return {"compile": True} if paths else {}


def _precision(module: "nn.Module") -> dict[str, str]:
    tensors = (*module.parameters(), *module.buffers())
    types = sorted({str(t.dtype) for t in tensors if t.is_floating_point()})
    need(len(types) < 2, f"its tensors are of several types: {', '.join(types)}")
    need(types[0] in _PRECISIONS, f"its tensors are {types[0]}")
    return _flag("precision", _PRECISIONS[types[0]])


def _attention(module: "nn.Module") -> dict[str, str]:
    """The attention kernel: timm sets it on each attention, transformers in the config."""
    fused = {bool(m.fused_attn) for m in module.modules() if hasattr(m, "fused_attn")}
    need(len(fused) < 2, "some of its attentions are fused, and others are not")
    if fused == {False}:
        return {"attention": "eager"}
    name = getattr(getattr(module, "config", None), "_attn_implementation", None)
    if name is None:
        return {}
    need(name in _ATTENTIONS, f"its attention is {name}")
    return _flag("attention", _ATTENTIONS[name])


def _checkpointing(module: "nn.Module") -> dict[str, str]:
    """The checkpointing: timm's models set it for all their blocks, transformers on each block."""
    if getattr(module, "grad_checkpointing", False):
        return {"checkpointing": "block"}
    layers = [m for m in module.modules() if hasattr(m, "gradient_checkpointing")]
    settings = {bool(m.gradient_checkpointing) for m in layers}
    if True not in settings:
        return {}
    need(len(settings) == 1, "some of its layers are checkpointed, and others are not")
    how = {_reentrant(m) for m in layers}
    need(how == {False}, "its checkpoints are reentrant")
    return {"checkpointing": "block"}


def _reentrant(layer: Any) -> bool:
    function = getattr(layer, "_gradient_checkpointing_func", None)
    keywords = getattr(function, "keywords", {})
    return bool(keywords.get("use_reentrant", True))


def _freeze(module: "nn.Module", trained: Callable[[str], int]) -> dict[str, str]:
    """The ``freeze`` flag that freezes the same parameters, apart from parameters that get no
    gradient anyway."""
    frozen = {
        name: not p.requires_grad
        for name, p in module.named_parameters()
        if name.rpartition(".")[2] not in _IDLE
    }
    trained_params = sum(
        p.numel() for name, p in module.named_parameters() if not frozen.get(name, True)
    )
    if trained_params == trained("none"):
        return {}
    still = {name for name, kept in frozen.items() if kept}
    if not trained_params:
        return {"freeze": "all"}
    for flag, names in _ways(module, list(frozen)):
        if still == names and trained_params == trained(flag):
            return {"freeze": flag}
    raise NotCovered(
        f"{len(still)} of its {len(frozen)} parameters do not train, which no freeze says"
    )


def _ways(module: "nn.Module", names: list[str]) -> Iterator[tuple[str, set[str]]]:
    """Every value of the ``freeze`` flag, with the parameters that it freezes."""
    yield "backbone", {name for name in names if not name.startswith(_HEADS)}
    lists = (path for path, _ in module.named_modules() if path.rpartition(".")[2] in _BLOCKS)
    blocks = next(lists, "")
    places = {name: _place(name, blocks) for name in names}
    inside = [name for name in names if places[name] is not None]
    if not inside:
        return
    # parameters are listed in the order of their registration, in which the embedding comes first
    frozen = set(names[: names.index(inside[0])])
    depth = len(module.get_submodule(blocks)._modules)
    for layers in range(depth + 1):
        yield f"first:{layers}", frozen
        frozen = frozen | {name for name in inside if places[name] == layers}


def _place(name: str, blocks: str) -> int | None:
    """The number of the block that a parameter belongs to."""
    number = name.removeprefix(f"{blocks}.").partition(".")[0]
    return int(number) if name.startswith(f"{blocks}.") and number.isdecimal() else None


def _flag(name: str, value: str) -> dict[str, str]:
    return {name: value} if value else {}
