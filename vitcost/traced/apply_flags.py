"""Applies the flags of a scenario to a module before it is traced."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import takewhile
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint

from vitcost.engine.parts import part_of
from vitcost.errors import NotCovered, UnknownName
from vitcost.traced.card import kernel_of_card
from vitcost.traced.fakes import switched

__all__ = ["adapt", "attention", "freeze", "recompute"]


def blocks(model: nn.Module) -> dict[str, nn.Module]:
    """The layers of a model by path. Classes that occur twice in a row in a list are candidates;
    the layers are all modules of the candidate with the most parameters. No layer contains another.

    >>> layers = nn.Sequential(*(nn.TransformerEncoderLayer(8, 2) for _ in range(2)))
    >>> list(blocks(nn.Sequential(nn.Linear(8, 8), layers)))
    ['1.0', '1.1']
    """
    totals: Counter[type[nn.Module]] = Counter()
    # in the order of the tree: if two classes have equally many parameters, the outer one is taken
    repeated: dict[type[nn.Module], None] = {}
    for container in model.modules():
        if not isinstance(container, nn.ModuleList | nn.Sequential):
            continue
        children = [child for child in container if next(child.children(), None) is not None]
        for child in children:
            totals[type(child)] += sum(p.numel() for p in child.parameters())
        shapes = [(type(c), tuple(p.shape for p in c.parameters())) for c in children]
        equal = (kind for (kind, weights), n in Counter(shapes).items() if n > 1 and weights)
        repeated |= dict.fromkeys(equal)
    if not repeated:
        return {}
    layer = max(repeated, key=totals.__getitem__)
    layers: dict[str, nn.Module] = {}
    for path, module in model.named_modules():
        inside = any(path.startswith(f"{outer}.") for outer in layers)
        if type(module) is layer and not inside:
            layers[path] = module
    return layers


def freeze(model: nn.Module, how: str) -> None:
    """Sets ``requires_grad`` as a scenario's ``freeze`` says: none, all, backbone, first:K,
    all-but-last:K.

    Raises ``NotCovered`` if the model has no layers to count, or no head.

    >>> model = nn.ModuleDict({"body": nn.Linear(8, 8), "head": nn.Linear(8, 2)})
    >>> freeze(model, "backbone")
    >>> [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    ['head.weight', 'head.bias']
    """
    word, _, number = how.partition(":")
    if word == "none":
        return
    if word == "all":
        model.requires_grad_(False)
        return
    if word == "backbone":
        _freeze_backbone(model, "freeze backbone")
        return
    layers = list(blocks(model))
    if not layers:
        raise NotCovered(f"freeze {how} counts layers, and no class repeats in a list here")
    first = min(int(number), len(layers))
    cut = first if word == "first" else len(layers) - first
    trained = tuple(f"{path}." for path in layers[cut:])
    before = takewhile(lambda named: not named[0].startswith(trained), model.named_parameters())
    for _, parameter in before:
        parameter.requires_grad_(False)


def _freeze_backbone(model: nn.Module, flag: str) -> None:
    """Freezes all but the head: the modules of the model that are named as a head is, or else the
    last linear layer directly in the model."""
    heads = [name for name, _ in model.named_children() if _is_head(name)]
    if not heads:
        heads = [n for n, child in model.named_children() if isinstance(child, nn.Linear)][-1:]
    if not heads:
        names = ", ".join(name for name, _ in model.named_children())
        raise NotCovered(f"{flag} trains the head alone, and none of {names} is named as one")
    for name, parameter in model.named_parameters():
        if not name.startswith(tuple(f"{head}." for head in heads)):
            parameter.requires_grad_(False)


def _is_head(name: str) -> bool:
    return part_of(name) == "head" or name in ("classifier", "heads", "fc", "head_drop")


def recompute(model: nn.Module, how: str) -> None:
    """Checkpoints the layers of a model, one region each; ``how`` is none or block.

    Raises ``NotCovered`` for other regions, and for a model without layers.

    >>> layers = nn.Sequential(*(nn.TransformerEncoderLayer(8, 2) for _ in range(2)))
    >>> recompute(layers, "block")
    >>> recompute(layers, "every:2")
    Traceback (most recent call last):
    vitcost.errors.NotCovered: checkpointing every:2 is not covered for a traced module: ...
    """
    if how == "none":
        return
    if how not in ("block", "every:1"):
        raise NotCovered(
            f"checkpointing {how} is not covered for a traced module: give none or block; its "
            f"own is kept"
        )
    layers = blocks(model)
    if not layers:
        raise NotCovered("checkpointing block wants layers, and no class repeats in a list here")
    for layer in layers.values():
        layer.forward = partial(_again, layer.forward)


def _again(forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Passes keyword arguments by position, because autograd's hooks do not see keywords."""
    names, first = tuple(kwargs), len(args)

    def run(*given: Any) -> Any:
        return forward(*given[:first], **dict(zip(names, given[first:], strict=True)))

    if not torch.is_grad_enabled():
        return forward(*args, **kwargs)
    return checkpoint(run, *args, *kwargs.values(), use_reentrant=False, preserve_rng_state=False)


class LoraLinear(nn.Module):
    """A frozen linear layer and a low-rank adapter beside it: Hu et al. 2021, arXiv 2106.09685."""

    def __init__(self, base: nn.Linear, rank: int) -> None:
        super().__init__()
        self.base_layer = base
        kind: dict[str, Any] = {"device": base.weight.device, "dtype": base.weight.dtype}
        self.lora_A = nn.Linear(base.in_features, rank, bias=False, **kind)
        self.lora_B = nn.Linear(rank, base.out_features, bias=False, **kind)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.base_layer(x)
        # peft's LoraLinear: result = result + lora_B(lora_A(x)) * scaling
        low: Tensor = self.lora_B(self.lora_A(x))
        return y + low * 2.0


def adapt(model: nn.Module, rank: int, layers: str) -> None:
    """Puts low-rank adapters on the linear layers with these names. Only the adapters and the head
    train.

    A layer of n inputs and m outputs gets ``rank · (n + m)`` parameters: Hu et al. 2021, arXiv
    2106.09685. Raises ``UnknownName`` for a name that no linear layer has, ``NotCovered`` where no
    module is named as a head.

    >>> model = nn.ModuleDict({"qkv": nn.Linear(8, 24), "head": nn.Linear(8, 2)})
    >>> adapt(model, 4, "qkv")
    >>> sum(p.numel() for p in model.parameters() if p.requires_grad) == 4 * (8 + 24) + 18
    True
    """
    if not rank:
        return
    linear: dict[str, list[Any]] = defaultdict(list)
    for parent in model.modules():
        for name, child in parent.named_children():
            if type(child) is nn.Linear:
                linear[name].append(parent)
    for name in layers.split(","):
        if name not in linear:
            raise UnknownName(
                "lora_layers", name, linear, f"linear layers: {', '.join(linear) or 'none'}"
            )
    _freeze_backbone(model, f"lora {rank}")
    for name in layers.split(","):
        for parent in linear[name]:
            setattr(parent, name, LoraLinear(getattr(parent, name), rank))


_ON_CPU = {"math": SDPBackend.MATH, "flash": SDPBackend.FLASH_ATTENTION}


@contextmanager
def attention(model: nn.Module, how: str, platform: str) -> Iterator[None]:
    """Sets the attention kernel of a module's calls of scaled_dot_product_attention.

    Raises ``NotCovered`` for a kernel that the platform does not have.

    >>> from vitcost.traced.card import install
    >>> with attention(nn.Linear(8, 8), "cudnn", "cpu"):
    ...     pass
    Traceback (most recent call last):
    vitcost.errors.NotCovered: attention cudnn on a CPU, which has sdpa, eager, math and flash
    """
    if how == "eager":
        with _eager(model), kernel_of_card("sdpa"):
            yield
    elif platform == "cuda":
        with kernel_of_card(how):
            yield
    elif how == "sdpa":
        yield
    elif how in _ON_CPU:
        with sdpa_kernel(_ON_CPU[how]):
            yield
    else:
        raise NotCovered(f"attention {how} on a CPU, which has sdpa, eager, math and flash")


@contextmanager
def _eager(model: nn.Module) -> Iterator[None]:
    """Switches to plain products, by timm's and transformers' own settings."""
    with ExitStack() as stack:
        for module in model.modules():
            if getattr(module, "fused_attn", None) is True:
                module.fused_attn = False  # type: ignore[assignment]
            config = getattr(module, "config", None)
            kind = getattr(config, "_attn_implementation", None)
            if isinstance(kind, str) and kind != "eager":
                stack.enter_context(switched(config, _attn_implementation="eager"))
        yield
