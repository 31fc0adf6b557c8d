"""The hooks of torch's ``fully_shard`` on the layers of a module and on the module itself, as marks
in the trace of a step.

Nothing is sharded here: weights stay whole, and gradients are freed where ``fully_shard`` frees
them. A mark says which hook ran; ``traced.sharded_step`` inserts the storages that the hook
allocates on a number of ranks. Source: torch 2.13, torch/distributed/fsdp/_fully_shard:
_fsdp_state.py, _fsdp_param_group.py.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_map_only, tree_unflatten

from vitcost.errors import NotCovered
from vitcost.traced.apply_flags import blocks
from vitcost.traced.leaves import tensors
from vitcost.traced.record import Recorder

__all__ = ["marked", "wrapped_modules"]

_IDLE, _FORWARD, _BEFORE_BACKWARD, _BEHIND_BACKWARD = range(4)


def wrapped_modules(model: nn.Module) -> dict[str, nn.Module]:
    """The modules that ``fully_shard`` is called on, by path: the layers of a model, and the model.

    >>> layers = nn.Sequential(*(nn.TransformerEncoderLayer(8, 2) for _ in range(2)))
    >>> list(wrapped_modules(nn.Sequential(nn.Linear(8, 8), layers)))
    ['1.0', '1.1', '']
    """
    return {**blocks(model), "": model}


@contextmanager
def marked(model: nn.Module, recorder: Recorder, dtype: torch.dtype | None) -> Iterator[None]:
    """Sets the hooks within a context; with a ``dtype`` they cast the inputs of the modules.

    Raises ``NotCovered`` for parameters that two wrapped modules share, and for a wrapped module
    that runs more than once in a step.

    >>> from vitcost.traced.inputs import inputs_of
    >>> from vitcost.traced.trace import MARKS, How
    >>> from vitcost.traced.traces import trace
    >>> head = nn.Linear(768, 1000)
    >>> step = trace(head, inputs_of(head, "768"), (2, 3, 4), How(sharded=True)).step
    >>> [MARKS[mark.kind] for mark in step.marks]
    ['enter', 'leave', 'enter_backward', 'reshard', 'copy_in', 'reduce', 'finish']
    """
    hooks = _Hooks(model, recorder, dtype)
    with ExitStack() as set_here:
        for unit in hooks.units:
            register, before = unit.module.register_forward_pre_hook, hooks.before_forward
            hook = register(partial(before, unit), prepend=True, with_kwargs=True)
            set_here.enter_context(hook)
            after = partial(hooks.after_forward, unit)
            set_here.enter_context(unit.module.register_forward_hook(after))
        yield


class _Unit:
    """A wrapped module and its own parameters, in the order in which ``fully_shard`` lists them."""

    def __init__(self, path: str, module: nn.Module, others: set[nn.Module]) -> None:
        self.path, self.module = path, module
        self.parameters = list(_managed(module, others - {module}))
        self.storages = [p.untyped_storage()._cdata for p in self.parameters]
        # the states of the module, and of its group of parameters
        self.state = self.group = _IDLE
        self.calls = 0


def _managed(module: nn.Module, others: set[nn.Module]) -> Iterator[Tensor]:
    """The parameters of a module, after those of its children; parameters of the modules in
    ``others`` are left out."""
    modules: dict[nn.Module, None] = {}

    def walk(module: nn.Module, seen: set[nn.Module]) -> None:
        seen.add(module)
        for child in module.children():
            if child not in seen and child not in others:
                walk(child, seen)
        modules[module] = None

    walk(module, set())
    each = {id(p): p for m in modules for p in m._parameters.values() if p is not None}
    yield from each.values()


class _Hooks:
    def __init__(self, model: nn.Module, recorder: Recorder, dtype: torch.dtype | None) -> None:
        self.recorder, self.dtype = recorder, dtype
        wrapped = wrapped_modules(model)
        others = set(wrapped.values())
        self.units = [_Unit(path, module, others) for path, module in wrapped.items()]
        self.root = self.units[-1]
        # whether a callback for the end of the backward pass is queued
        self.queued = False
        owners: dict[int, str] = {}
        for unit in self.units:
            for parameter in unit.parameters:
                other = owners.setdefault(id(parameter), unit.path)
                if other != unit.path:
                    raise NotCovered(
                        f"fully_shard refuses a parameter that {other or 'the model'} shares with "
                        f"{unit.path or 'the model'}, two modules that it wraps"
                    )
            self.part(unit)

    def mark(self, kind: str, unit: _Unit) -> None:
        self.recorder.mark(kind, unit.path)

    def gather(self, unit: _Unit) -> None:
        """Notes that the weights of a unit are gathered: operators may read them."""
        for storage in unit.storages:
            self.recorder.away.pop(storage, None)

    def part(self, unit: _Unit) -> None:
        """Notes that the weights of a unit are only shards from here on."""
        self.recorder.away.update(dict.fromkeys(unit.storages, unit.path or "the model"))

    def before_forward(self, unit: _Unit, module: nn.Module, args: Any, kwargs: Any) -> Any:
        arguments = (args, kwargs)
        if self.dtype is not None:
            arguments = tree_map_only(Tensor, self._cast, arguments)
        if unit.state == _BEFORE_BACKWARD:
            # a checkpointed module runs again while its weights are gathered for its backward
            return arguments
        unit.state = _FORWARD
        again = _in_backward()
        unit.calls += not again
        if unit.calls > 1:
            name = unit.path or "the model"
            raise NotCovered(
                f"a fully sharded step is not covered for {name}, which runs more than once"
            )
        if unit.parameters:
            unit.group = _FORWARD
            self.gather(unit)
            self.mark("enter_again" if again else "enter", unit)
            if torch.is_grad_enabled():
                arguments = self._ending(unit, arguments)
        return arguments

    def _cast(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.dtype) if tensor.is_floating_point() else tensor

    def _ending(self, unit: _Unit, arguments: Any) -> Any:
        """The inputs of a unit, those that need a gradient passed through a node: when its backward
        runs, the unit's backward ends."""
        leaves, shape = tree_flatten(arguments)
        places = [i for i, t in enumerate(leaves) if isinstance(t, Tensor) and t.requires_grad]
        if not places:
            return arguments
        ends: Any = RegisterPostBackwardFunction
        passed = ends.apply(self, unit, *(leaves[i] for i in places))
        for i, tensor in zip(places, passed, strict=True):
            leaves[i] = tensor
        return tree_unflatten(leaves, shape)

    def after_forward(self, unit: _Unit, module: nn.Module, args: Any, output: Any) -> None:
        if unit.state == _BEFORE_BACKWARD:
            return
        again = _in_backward()
        if unit.parameters:
            unit.group = _IDLE
            if not again:
                self.part(unit)
        if torch.is_grad_enabled():
            for tensor in tensors(output):
                if tensor.requires_grad:
                    hook = partial(self.before_backward, unit)
                    tensor.register_hook(hook)  # type: ignore[no-untyped-call]
        unit.state = _IDLE
        if unit.parameters or unit is self.root:
            self.mark("leave_again" if again else "leave", unit)

    def before_backward(self, unit: _Unit, gradient: Tensor) -> None:
        unit.state = _BEFORE_BACKWARD
        if not self.queued:
            self.queued = True
            engine: Any = torch.autograd.Variable._execution_engine
            engine.queue_callback(self.end)
        if unit.parameters and unit.group != _BEFORE_BACKWARD:
            unit.group = _BEFORE_BACKWARD
            self.gather(unit)
            self.mark("enter_backward", unit)

    def after_backward(self, unit: _Unit) -> None:
        unit.group = _BEHIND_BACKWARD
        gradients = [p.grad for p in unit.parameters if p.grad is not None]
        for parameter in unit.parameters:
            parameter.grad = None
        self.part(unit)
        self.mark("reshard", unit)
        if gradients:
            self.mark("copy_in", unit)
            # the loop variable of foreach_reduce holds the last gradient until the function returns
            del gradients[:-1]
            self.mark("reduce", unit)

    def end(self) -> None:
        """Runs at the end of the backward pass: ends the units whose inputs need no gradient, the
        model first."""
        for unit in (self.root, *self.units[:-1]):
            if unit.parameters and unit.group != _BEHIND_BACKWARD:
                self.after_backward(unit)
            if any(p.grad is not None for p in unit.parameters):
                raise NotCovered(
                    f"a gradient of {unit.path or 'the model'} that its own backward does not make"
                )
            unit.state = unit.group = _IDLE
        for unit in self.units:
            self.mark("finish", unit)


class RegisterPostBackwardFunction(torch.autograd.Function):
    """Passes tensors on; its backward runs when the gradients of a unit's inputs are ready. It has
    the name of torch's class, since error messages show it."""

    @staticmethod
    def forward(ctx: Any, hooks: _Hooks, unit: _Unit, *inputs: Tensor) -> tuple[Tensor, ...]:
        ctx.end = partial(hooks.after_backward, unit)
        return inputs

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        ctx.end()
        return (None, None, *gradients)


def _in_backward() -> bool:
    return bool(torch._C._current_graph_task_id() != -1)
