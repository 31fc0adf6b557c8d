"""Detects modules that were changed after they were built.

A class and its parameters do not show everything that runs: a ``forward`` may be set on an
instance, a hook may replace an output, a submodule may be removed. A changed module has no formula.
"""

from collections.abc import Iterator, Mapping
from types import FunctionType
from typing import TYPE_CHECKING, Any

from vitcost.zoo.read_layers import VIT, Fields, name_of, need

if TYPE_CHECKING:
    from torch import nn

__all__ = ["need_alike", "need_slots", "need_unchanged"]

_HOOKS = (
    "_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks",
)  # fmt: skip
_GRADIENT_HOOKS = ("_backward_hooks", "_post_accumulate_grad_hooks")
# slots that a model's own methods may empty, and that the readers of modules check
_EMPTIED = ("attn_pool",)
# transformers' own hooks, which only record outputs that a caller asked for
_NOTING = ("transformers.utils.output_capturing",)

_DROPOUT = ("torch.nn.modules.dropout.Dropout",)
_DROP_PATH = ("torch.nn.modules.linear.Identity", "timm.layers.drop.DropPath")
# submodules of timm's modules that no reader of modules checks, and the classes that each may have
_SLOTS: Mapping[str, tuple[str, ...]] = {
    "pos_drop": _DROPOUT,
    "head_drop": _DROPOUT,
    "attn_drop": _DROPOUT,
    "proj_drop": _DROPOUT,
    "mlp_drop": _DROPOUT,
    "drop1": _DROPOUT,
    "drop2": _DROPOUT,
    "drop_path": _DROP_PATH,
    "drop_path1": _DROP_PATH,
    "drop_path2": _DROP_PATH,
}
# submodules of timm's blocks that their forward calls, but no reader checks
_BLOCK = ("drop_path1", "drop_path2")
_CALLED: Mapping[str, tuple[str, ...]] = {
    VIT + "Block": (*_BLOCK, "ls1", "ls2"),
    VIT + "ResPostBlock": _BLOCK,
    VIT + "ParallelScalingBlock": ("drop_path",),
    VIT + "DiffParallelScalingBlock": ("drop_path",),
    "timm.models.eva.EvaBlock": _BLOCK,
    "timm.models.eva.EvaBlockPostNorm": _BLOCK,
    "timm.models.beit.Block": _BLOCK,
}
# the only values of these attributes for which the formulas hold
_VALUES: Mapping[str, Any] = {"inplace": False, "scale_by_keep": True}


def need_unchanged(module: "nn.Module") -> None:
    """Refuses a module with a replaced method, a registered hook or a removed submodule.

    Raises ``NotCovered`` with the path and the reason.
    """
    for path, each in module.named_modules():
        where = path or "the model"
        for reason in _changes(each):
            need(False, f"{where}: {reason}")
    for name, parameter in module.named_parameters():
        hooked = any(getattr(parameter, hooks, None) for hooks in _GRADIENT_HOOKS)
        need(not hooked, f"{name}: a hook on its gradient")


def _changes(module: Any) -> Iterator[str]:
    kind = type(module)
    for name in vars(module):
        if callable(getattr(kind, name, None)):
            yield f"its {name} was set on the instance, which is not that of {kind.__name__}"
    for hooks in _HOOKS:
        for hook in getattr(module, hooks).values():
            if getattr(hook, "__module__", "") not in _NOTING:
                yield f"a hook in {hooks[1:]}"
    for name, child in module._modules.items():
        if child is None and name not in _EMPTIED:
            yield f"its {name} was taken out"
    for cls in kind.__mro__:
        if cls.__module__.startswith("torch."):
            break
        for name, method in vars(cls).items():
            packages = (_package(cls), "torch")
            if isinstance(method, FunctionType) and _package(method) not in packages:
                yield f"{cls.__name__}.{name} was replaced by one of {method.__module__}"


def _package(thing: Any) -> str:
    return str(thing.__module__).partition(".")[0]


def need_slots(module: "nn.Module") -> None:
    """Refuses a module of timm's that has an unexpected module in a slot that no reader checks."""
    if not any(cls.__module__.startswith("timm.") for cls in type(module).__mro__):
        return
    for path, each in module.named_modules():
        # another reader compares the backbone with its row, module by module
        if path.startswith("patch_embed.backbone"):
            continue
        for name, child in each.named_children():
            if name in _SLOTS:
                where = f"{path}.{name}" if path else name
                need(name_of(child) in _SLOTS[name], f"{where} is {name_of(child)}")
        for name in _CALLED.get(name_of(each), ()):
            need(hasattr(each, name), f"{path}: its {name} was taken out")
        for name, value in _VALUES.items():
            need(getattr(each, name, value) == value, f"{path}.{name} is not {value}")


def need_alike(module: "nn.Module", fresh: "nn.Module", apart: tuple[str, ...] = ()) -> None:
    """Refuses a module if any submodule differs from that of a newly built model.

    ``apart`` names children of the model that are checked by their own readers. Raises
    ``NotCovered`` with the first difference.
    """
    parts, other = _described(module, apart), _described(fresh, apart)
    for path in (*other, *parts):
        where = path or "the model"
        need(path in parts, f"{where} was taken out")
        need(path in other, f"{where} was put in")
        for name in {**other[path], **parts[path]}:
            one, built = parts[path].get(name), other[path].get(name)
            need(one == built, f"{where}: {name} is {one!s:.80}, and {built!s:.80} as it is built")


def _described(module: "nn.Module", apart: tuple[str, ...]) -> dict[str, Fields]:
    """A description of every submodule: its class, its plain attributes, the shapes of its
    parameters."""
    return {
        path: {
            # the user's subclass may have another name although it only sets a configuration
            **({"class": name_of(each)} if path else {}),
            **{name: v for name, v in vars(each).items() if _is_plain(name, v)},
            **{name: None if p is None else tuple(p.shape) for name, p in each._parameters.items()},
            **{name: None if b is None else tuple(b.shape) for name, b in each._buffers.items()},
        }
        for path, each in module.named_modules(remove_duplicate=False)
        if path.partition(".")[0] not in apart
    }


# attributes for how a module runs at the moment; they are read separately
_RUNS = ("training", "gradient_checkpointing", "name_or_path", "epsilon", "eps")


def _is_plain(name: str, value: object) -> bool:
    plain = isinstance(value, bool | int | float | str | tuple | type(None) | FunctionType)
    return plain and not name.startswith("_") and name not in _RUNS
