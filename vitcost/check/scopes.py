"""The module that runs an operator, in the forward and in the backward pass of a model."""

from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torch.utils.module_tracker import ModuleTracker

__all__ = ["INNERMOST", "OUTERMOST", "Call", "Scopes"]

# prefixes of two more paths: the top-level module that the model called, and the innermost module
# whose forward runs; by either of them the work adds up to the whole
OUTERMOST, INNERMOST = "outermost ", "innermost "


class Call(NamedTuple):
    """One module call, recorded when it returns; for a tuple, the shape of its first tensor."""

    path: str
    type: str
    shape: tuple[int, ...]


class _Handle(Protocol):
    def remove(self) -> None: ...


class _Node(Protocol):
    next_functions: Sequence[tuple["_Node | None", int]]

    def register_prehook(self, fn: Callable[..., None]) -> _Handle: ...


class Scopes(ModuleTracker):
    """Keeps ``parents``, the paths of the running modules, which ``FlopCounterMode`` asks for.

    In the backward pass torch's own tracker loses track of a module whose input needs no gradient.
    Here the autograd nodes of a module are those that can be reached from its output and belong to
    no earlier call; when the backward pass runs a node, its module is known. With ``ends`` the
    outermost and the innermost running module are also listed under paths of their own.
    """

    def __init__(self, model: nn.Module, ends: bool = False) -> None:
        super().__init__()
        self.model, self.ends = model, ends
        self.calls: list[Call] = []
        self.callers: list[str] = []  # the module whose forward made each call
        self._stack: list[str] = []
        self._handles: list[_Handle] = []
        self._claimed: dict[_Node, set[str]] = {}

    def __enter__(self) -> "Scopes":
        self.calls.clear()
        self.callers.clear()
        for path, module in self.model.named_modules():
            before = module.register_forward_pre_hook(self._entering(path), with_kwargs=True)
            after = module.register_forward_hook(self._leaving(path))
            self._handles += [before, after]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._claimed.clear()
        self._stack.clear()

    @property
    def running(self) -> str:
        """The path of the module whose forward runs; ``""`` is the model itself."""
        return self._stack[-1] if self._stack else ""

    @property
    def running_type(self) -> str:
        """The type of the running module."""
        return type(self.model.get_submodule(self.running)).__name__

    def _entering(self, path: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, kwargs: Any) -> None:
            # work between two calls belongs to the caller
            self._claim((args, kwargs))
            self._stack.append(path)
            self._where()

        return hook

    def _leaving(self, path: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            self._claim(output)
            self._stack.pop()
            self._where()
            tensors = list(_tensors(output))
            shape = tuple(tensors[0].shape) if tensors else ()
            self.calls.append(Call(path, type(module).__name__, shape))
            self.callers.append(self.running)

        return hook

    def _where(self) -> None:
        self.parents = {"Global", *self._stack}
        if self.ends:
            self.parents |= {OUTERMOST + path for path in self._stack[1:2]}
            self.parents |= {INNERMOST + self.running}

    def _claim(self, values: Any) -> None:
        nodes = [node for t in _tensors(values) if (node := _node(t)) is not None]
        while nodes:
            node = nodes.pop()
            if node in self._claimed:
                continue
            self._claimed[node] = self.parents
            if not hasattr(node, "variable"):  # the node of a parameter runs no operator
                self._handles.append(node.register_prehook(self._resuming(self.parents)))
            nodes += [before for before, _ in node.next_functions if before is not None]

    def _resuming(self, parents: set[str]) -> Callable[..., None]:
        def hook(gradients: Sequence[Tensor]) -> None:
            self.parents = parents

        return hook


def _tensors(values: Any) -> Iterator[Tensor]:
    return (leaf for leaf in tree_leaves(values) if isinstance(leaf, torch.Tensor))


def _node(tensor: Tensor) -> Any:
    return tensor.grad_fn
