"""Exchanges a module's tensors for others, and puts the module back as it was."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import unset_fake_temporarily

__all__ = ["attributes", "put", "switched", "unchanged"]


@contextmanager
def switched(owner: Any, **values: Any) -> Iterator[None]:
    """Gives attributes of an object other values until the end.

    >>> layer = nn.Linear(2, 3)
    >>> with switched(layer, training=False):
    ...     layer.training
    False
    >>> layer.training
    True
    """
    before = {name: getattr(owner, name) for name in values}
    try:
        for name, value in values.items():
            setattr(owner, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(owner, name, value)


@contextmanager
def unchanged(model: nn.Module) -> Iterator[None]:
    """Restores every attribute of every module at the end, and the state of random numbers.

    >>> layer = nn.Linear(2, 3)
    >>> with unchanged(layer):
    ...     layer.calls = 1
    >>> hasattr(layer, "calls")
    False
    """
    before = [(m.__dict__, dict(m.__dict__), _contents(m.__dict__)) for m in model.modules()]
    state = torch.get_rng_state()
    try:
        yield
    finally:
        torch.set_rng_state(state)
        for attributes_now, attributes, contents in before:
            attributes_now.clear()
            attributes_now.update(attributes)
            for held, copy in contents:
                _refill(held, copy)


def _contents(attributes: dict[str, Any]) -> list[tuple[Any, Any]]:
    """Containers that a forward may write to: lists, sets and dictionaries."""
    kinds = (dict, list, set)
    return [(v, v.copy()) for v in attributes.values() if isinstance(v, kinds)]


def _refill(held: Any, copy: Any) -> None:
    held.clear()
    if isinstance(held, list):
        held.extend(copy)
    else:
        held.update(copy)


def empty(tensor: Tensor, dtype: torch.dtype, device: str) -> Tensor:
    """An empty tensor with the memory layout of another; a fake tensor in torch's fake mode."""
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=dtype, device=device)


def types_of(model: nn.Module, dtype: torch.dtype | None) -> dict[int, torch.dtype]:
    """The types that ``model.to(dtype)`` gives to parameters and buffers, keyed by the ids of the
    tensors. A module may keep the types of some tensors."""
    if dtype is None:
        return {}
    tables: list[dict[str, Any]] = [t for m in model.modules() for t in (m._parameters, m._buffers)]
    places = [
        (table, name, id(t)) for table in tables for name, t in table.items() if t is not None
    ]
    with unset_fake_temporarily(), unchanged(model):
        put(model, "meta", {}, apart="meta")
        model.to(dtype)
        return {number: table[name].dtype for table, name, number in places}


def parameter(tensor: Tensor, trains: bool) -> Tensor:
    """A new tensor as a parameter. ``nn.Parameter`` would call ``detach`` on a fake tensor: one
    dispatch for each weight takes a fifth of the time of a trace."""
    if type(tensor) is Tensor:
        return nn.Parameter(tensor, trains)
    tensor._is_param = True
    return tensor.requires_grad_(trains)


def put(
    model: nn.Module,
    device: str,
    types: Mapping[int, torch.dtype],
    make: Callable[[Tensor, torch.dtype, str], Tensor] = empty,
    apart: str = "cpu",
) -> list[Tensor]:
    """Replaces parameters, buffers and tensors in plain attributes; shared tensors stay shared.

    ``types`` has the new type of each tensor that changes its type, by its id. Returns the tensors
    in plain attributes: ``Module.to`` does not move them, so they are on the device ``apart``.

    >>> layer = nn.Linear(2, 3)
    >>> put(layer, "meta", {id(layer.weight): torch.bfloat16})
    []
    >>> layer.weight.device.type, layer.weight.dtype, layer.bias.dtype
    ('meta', torch.bfloat16, torch.float32)
    """
    fakes: dict[int, Any] = {}

    def fake(tensor: Tensor, device: str) -> Tensor:
        if id(tensor) not in fakes:
            new = make(tensor, types.get(id(tensor), tensor.dtype), device)
            trains = isinstance(tensor, nn.Parameter)
            if trains:
                new = parameter(new, tensor.requires_grad)
            # the tensor stays alive, so that its id is not reused
            fakes[id(tensor)] = (new, tensor)
        replaced: Tensor = fakes[id(tensor)][0]
        return replaced

    plain: list[Tensor] = []
    for module in model.modules():
        tables: tuple[dict[str, Any], ...] = (module._parameters, module._buffers)
        for table in tables:
            for name, tensor in table.items():
                if tensor is not None:
                    table[name] = fake(tensor, device)
        for name, value in list(module.__dict__.items()):
            if isinstance(value, Tensor):
                module.__dict__[name] = fake(value, apart)
            elif name not in _OWN and isinstance(value, dict | list):
                _inside(value, fake, apart)
        plain += [tensor for _, tensor in attributes(module)]
    return plain


def _inside(values: Any, fake: Callable[[Tensor, str], Tensor], apart: str) -> None:
    places = values.items() if isinstance(values, dict) else enumerate(values)
    for place, value in list(places):
        if isinstance(value, Tensor):
            values[place] = fake(value, apart)


def attributes(module: nn.Module) -> list[tuple[str, Tensor]]:
    """Tensors that a module has as plain attributes, or in a list or a dictionary.

    >>> layer = nn.Linear(2, 3)
    >>> layer.scales = [torch.ones(3)]
    >>> [(name, tuple(tensor.shape)) for name, tensor in attributes(layer)]
    [('scales.0', (3,))]
    """
    named = []
    for name, value in module.__dict__.items():
        if isinstance(value, Tensor):
            named.append((name, value))
        elif name not in _OWN and isinstance(value, dict | list | tuple):
            inside = enumerate(value.values() if isinstance(value, dict) else value)
            named += [(f"{name}.{i}", each) for i, each in inside if isinstance(each, Tensor)]
    return named


_OWN = {"_parameters", "_buffers", "_modules"}
