"""The module that runs an operator, in the forward and in the backward pass of a model."""

from functools import partial
from typing import Any, NamedTuple

from torch import nn
from torch.autograd.graph import Node
from torch.utils.hooks import RemovableHandle
from torch.utils.module_tracker import ModuleTracker

from vitcost.traced.leaves import tensors

__all__ = ["Call", "Scopes"]


class Call(NamedTuple):
    """One module call, recorded when it returns; for a tuple, the shape of its first tensor."""

    path: str
    type: str
    shape: tuple[int, ...]


class Scopes(ModuleTracker):
    """Keeps ``parents``, the paths of the running modules, which ``FlopCounterMode`` asks for.

    In the backward pass torch's own tracker loses track of a module whose input needs no gradient.
    Here the autograd nodes of a module are those that can be reached from its output and belong to
    no earlier call; when the backward pass runs a node, its module is known.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.calls: list[Call] = []
        self._stack: list[str] = []
        self._handles: list[RemovableHandle] = []
        self._claimed: dict[Node, set[str]] = {}

    def __enter__(self) -> "Scopes":
        self.calls.clear()
        for path, module in self.model.named_modules():
            before = module.register_forward_pre_hook(partial(self._enter, path), with_kwargs=True)
            after = module.register_forward_hook(partial(self._leave, path))
            self._handles += [before, after]
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._claimed.clear()
        self._stack.clear()

    @property
    def running_type(self) -> str:
        """The type of the running module."""
        path = self._stack[-1] if self._stack else ""
        return type(self.model.get_submodule(path)).__name__

    def _enter(self, path: str, module: nn.Module, args: Any, kwargs: Any) -> None:
        # work between two calls belongs to the caller
        self._claim((args, kwargs))
        self._stack.append(path)
        self.parents = {"Global", *self._stack}

    def _leave(self, path: str, module: nn.Module, args: Any, output: Any) -> None:
        self._claim(output)
        self._stack.pop()
        self.parents = {"Global", *self._stack}
        shape = tuple(next((t.shape for t in tensors(output)), ()))
        self.calls.append(Call(path, type(module).__name__, shape))

    def _claim(self, values: Any) -> None:
        nodes = [t.grad_fn for t in tensors(values)]
        while nodes:
            node = nodes.pop()
            if node is None or node in self._claimed:
                continue
            self._claimed[node] = self.parents
            if not hasattr(node, "variable"):  # the node of a parameter runs no operator
                self._handles.append(node.register_prehook(partial(self._resume, self.parents)))
            nodes += [before for before, _ in node.next_functions]

    def _resume(self, parents: set[str], gradients: Any) -> None:
        self.parents = parents
