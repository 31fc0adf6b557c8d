"""The recorder: every operator of a run under fake tensors, and the life of each storage.

A dispatch mode sees the operators below autograd, where a real kernel would run. A weak reference
to each storage tells when Python and autograd have freed it. Hooks of autograd say which storages
it saves, and hooks of ``nn.Module`` say which module runs.
"""

import sys
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple
from weakref import ref

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.modules import module as torch_modules
from torch.utils._python_dispatch import TorchDispatchMode

from vitcost.errors import NotCovered
from vitcost.traced.fakes import switched
from vitcost.traced.finite import answer, remember
from vitcost.traced.leaves import tensors
from vitcost.traced.opaque import need_traceable
from vitcost.traced.operators import is_attention
from vitcost.traced.products import attention_backward
from vitcost.traced.replayed import Spec, name_of, ran
from vitcost.traced.trace import BORN, DIES, GRADIENT, LOOK, MARKS, SAVED, VIEWS, coded

__all__ = ["Called", "Recorder"]


class Called(NamedTuple):
    """One call of an operator."""

    phase: str  # forward | backward | recomputation
    path: str
    name: str
    reads: tuple[Spec, ...]
    writes: tuple[Spec, ...]
    flops: int  # FLOPs of the kernel that runs
    defined: int  # FLOPs of the forward's definition, counted at the forward call
    defined_backward: int  # FLOPs of its backward's definition, counted at the forward call


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records all operators that run inside it; ``lasting`` are tensors that outlive the step.

    ``events`` are integers, see ``trace.coded``. Storages are numbered in the order of their
    allocation.
    """

    def __init__(self, model: nn.Module, lasting: Iterable[Tensor], mode: FakeTensorMode) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._mode = mode
        self.calls: list[Called] = []
        # the storages that each call reads and writes, in the order of its tensors; -1: outlives
        # the step
        self.touched: list[tuple[int, ...]] = []
        self.sizes: list[int] = []
        self.events: list[int] = []
        self.marks: list[tuple[int, str]] = []  # calls of fully_shard's hooks: kind and module
        # weights that are only shards now, by the module that gathers them
        self.away: dict[int, str] = {}
        self.saved_by: dict[int, str] = {}  # the module that autograd saved a storage for
        # the shape of each module's first output, by path
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.returns: list[tuple[str, bool, tuple[tuple[int, ...], ...]]] = []
        self.called: dict[str, int] = {}  # how often each module ran in the forward
        self.read: set[int] = set()  # storages that outlive the step, and that an operator has read
        self.reached: set[int] = set()  # parameters that have received a gradient
        self.backward = False
        self.path = ""
        self._names = {id(m): path for path, m in model.named_modules()}
        self._stack: list[str] = []
        self._lasting: set[int] = set()
        self._held: list[Tensor] = []  # kept alive, so that their ids are not reused
        self.last(*lasting)
        self._numbers: dict[int, int] = {}
        self._references: dict[int, Any] = {}
        self._gradients: set[int] = set()
        self._quiet = False
        self.targets_bytes = 0
        self.parameters = sum(p.numel() for p in model.parameters())
        self.trying = ""  # the operator that is running now
        # whether the module read a boolean that is the same for all finite numbers, such as
        # ``isinf(x).any()``
        self.guarded = False
        # the last error that left a module, by its id only, since its frames hold tensors; and the
        # innermost module that it left
        self.stopped: tuple[int, str] = (0, "")
        # modules whose attention ran without a graph
        self._blind: set[str] = set()
        # autograd numbers its nodes in order: the first number of each run of a module
        self._starts: list[int] = [0]
        self._ran: list[str] = [""]
        # the storage that the last operator wrote, which the next may overwrite; and the place in
        # the Python code
        self._fresh: tuple[int, Any] = (-1, None)
        # the position of the last operator whose real counterpart would have overwritten its
        # operand
        self._sum: tuple[int, int] | None = None

    # -- storages ---------------------------------------------------------------------------------

    def number(self, tensor: Tensor) -> int:
        """The number of a tensor's storage: new if not seen before, -1 if it outlives the step."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._lasting:
            return -1
        known = self._numbers.get(key)
        if known is not None:
            return known
        new = len(self.sizes)
        self._numbers[key] = new
        self.sizes.append(storage.nbytes())
        self.events.append(coded(BORN, new))
        self._references[new] = ref(storage, self._freeing(key, new))
        return new

    def _freeing(self, key: int, number: int) -> Callable[[Any], None]:
        def gone(reference: Any) -> None:
            if self._numbers.get(key) == number:
                del self._numbers[key]
            self._references.pop(number, None)
            self.events.append(coded(DIES, number))

        return gone

    def last(self, *tensors: Tensor) -> None:
        """Marks tensors as the caller's, such as the targets of a loss."""
        self._held += tensors
        self._lasting |= {t.untyped_storage()._cdata for t in tensors}

    def targets(self, size: int, device: torch.device) -> Tensor:
        """Class indices for a loss; the caller holds them."""
        with self.quiet():
            targets = torch.zeros(size, dtype=torch.long, device=device)
        self.last(targets)
        self.targets_bytes = targets.untyped_storage().nbytes()
        return targets

    def quiet(self) -> AbstractContextManager[None]:
        """Operators inside it are not recorded."""
        return switched(self, _quiet=True)

    def mark(self, kind: str, path: str) -> None:
        """Records a hook of ``fully_shard``, run here for the module at a path."""
        self.marks.append((MARKS.index(kind), path))
        self.events.append(-len(self.marks))

    def close(self) -> None:
        """Ends the recording: later frees do not belong to the run."""
        self._settle()
        self._references.clear()

    # -- operators --------------------------------------------------------------------------------

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """torch wraps the method below, so that torch.compile skips it: nothing is compiled."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is _DEVICE and isinstance(args[0], FakeTensor):
            # C++ asks for the device of each operand; two thirds of the dispatches of a step are
            # such questions
            return args[0].fake_device
        kwargs = kwargs or {}
        if self._quiet or func is _DEVICE:
            return ran(self._mode, func, args, kwargs).output
        self.trying = name = name_of(func)
        if name == "_local_scalar_dense" and answer(args[0]) is not None:
            self.guarded = True
            return answer(args[0])
        output, reads, writes, read, written, flops = ran(self._mode, func, args, kwargs)
        self.trying = ""
        remember(name, args, output)
        self._settle()
        storages = [t.untyped_storage()._cdata for t in reads]
        self.read |= self._lasting.intersection(storages)
        for away in self.away.keys() & set(storages):
            raise NotCovered(
                f"{self._where(self._phase()) or 'the model'} reads a weight of "
                f"{self.away[away]}, which fully_shard has gathered while {self.away[away]} runs"
            )
        before = len(self.sizes)
        touched = [self._numbers.get(storage, -1) for storage in storages]
        born = [self.number(t) for t in writes]
        if name in VIEWS and len(self.sizes) == before:
            # the operator only frees or keeps bytes, so no look is needed after it
            return output
        phase = self._phase()
        path = self._where(phase)
        defined = self._defined(phase, path, name, flops, args) if flops else (0, 0)
        self.calls.append(Called(phase, path, name, read, written, flops, *defined))
        self.touched.append((*touched, *born))
        over = phase == "backward" and func in _OVERWRITES and _in_place(func, reads[0])
        place = _calling() if func in _FRESH or func in _OUT_OF_PLACE else None
        if over or (func in _OUT_OF_PLACE and (touched[0], place) == self._fresh):
            first = touched[0]
            if born and first not in (-1, born[0]):
                self._sum = first, len(self.events)
        self._fresh = (born[0], place) if func in _FRESH else (-1, None)
        self.events.append(LOOK)
        return output

    def _defined(
        self, phase: str, path: str, name: str, flops: int, args: tuple[Any, ...]
    ) -> tuple[int, int]:
        """FLOPs of the definition, forward and backward. The backward FLOPs of a fused attention
        are known only when its forward builds a graph: under a reentrant checkpoint, when it runs
        again."""
        if not is_attention(name):
            return (flops if phase == "forward" else 0), (flops if phase == "backward" else 0)
        if phase == "backward":
            return 0, 0
        graph = torch.is_grad_enabled()
        if phase == "forward" and not graph:
            self._blind.add(path)
        known = phase == "forward" or path in self._blind
        backward = attention_backward(flops, args) if graph and known else 0
        return (flops if phase == "forward" else 0), backward

    def _settle(self) -> None:
        """Moves the free of a gradient to the moment when another one is added to it. torch adds in
        place to a tensor without another holder; for fake tensors, and under a dispatch mode, it
        allocates the sum and frees the first right after."""
        if self._sum is None:
            return
        first, look = self._sum
        self._sum = None
        death = coded(DIES, first)
        try:
            at = self.events.index(death, look)
        except ValueError:
            return
        del self.events[at]
        self.events.insert(look, death)

    def _phase(self) -> str:
        if not self.backward:
            return "forward"
        # a recomputed forward builds a graph, and a backward pass does not
        again = torch.is_grad_enabled() and torch._C._current_autograd_node() is not None
        return "recomputation" if again else "backward"

    def _where(self, phase: str) -> str:
        if phase != "backward":
            return self.path
        node: Any = torch._C._current_autograd_node()
        if node is None:
            return "loss"
        index = node._sequence_nr()
        if index >= _NO_NUMBER:
            # a parameter takes its gradient over: the module that has just run made it
            return self.calls[-1].path if self.calls else ""
        return self._ran[bisect_right(self._starts, index) - 1]

    # -- modules ----------------------------------------------------------------------------------

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Sets the hooks of every module and of autograd, and removes them at the end."""
        before = torch_modules.register_module_forward_pre_hook(self._enter)
        after = torch_modules.register_module_forward_hook(self._leave, always_call=True)
        with before, after, saved_tensors_hooks(self._pack, _unpack):
            yield

    @contextmanager
    def inside(self, path: str) -> Iterator[None]:
        """Gives operators inside it a path that belongs to no module."""
        self._stack.append(self.path)
        self._go(path)
        try:
            yield
        finally:
            self._go(self._stack.pop())

    def _enter(self, module: nn.Module, args: Any) -> None:
        self._stack.append(self.path)
        path = self._names.get(id(module), self.path)
        need_traceable(module, path)
        if not self.backward:
            self.called[path] = self.called.get(path, 0) + 1
        self._go(path)

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        path, error = self.path, sys.exc_info()[1]
        stopped = 0 if error is None else id(error)
        del error
        if stopped and stopped != self.stopped[0]:
            self.stopped = stopped, path
        if not stopped and not self.backward and id(module) in self._names:
            self.returns.append((path, isinstance(output, list | tuple), _shapes(output)))
        if path not in self.shapes and not stopped:
            self.shapes[path] = tuple(next((t.shape for t in tensors(output)), ()))
        self._go(self._stack.pop())

    def _go(self, path: str) -> None:
        self.path = path
        self._starts.append(torch._C._autograd._get_sequence_nr())
        self._ran.append(path)

    # -- autograd ---------------------------------------------------------------------------------

    def _pack(self, tensor: Tensor) -> tuple[Tensor, bool]:
        """Notes that autograd saves a storage. An output that its own graph holds would never be
        freed, so another tensor on the same storage is held, as autograd does."""
        if tensor.untyped_storage()._cdata in self._lasting:
            return tensor, tensor.requires_grad
        number = self.number(tensor)
        if number not in self.saved_by:
            self.saved_by[number] = self.path
            self.events.append(coded(SAVED, number))
        with self.quiet():
            return tensor.detach(), tensor.requires_grad

    def gradient(self, parameter: Tensor) -> None:
        """A parameter has taken its gradient over."""
        self.reached.add(id(parameter))
        if parameter.grad is None:
            return
        number = self._numbers.get(parameter.grad.untyped_storage()._cdata)
        if number is not None and number not in self._gradients:
            self._gradients.add(number)
            self.events.append(coded(GRADIENT, number))


_aten = torch.ops.aten
_ADD = _aten.add.Tensor
# C++ code that treats subclasses of tensors differently (isTensorSubclassLike in aten): with plain
# tensors a linear layer adds its bias, and a backward writes a gradient into zeros, in place
_FRESH = {_aten.mm.default, _aten.bmm.default, _aten.new_zeros.default, _aten.zeros.default}
_OUT_OF_PLACE = {
    _ADD, _aten.scatter.src, _aten.scatter.value, _aten.scatter_add.default,
    _aten.index_put.default, _aten.index_add.default, _aten.index_copy.default,
}  # fmt: skip

_DEVICE = torch.ops.prim.device.default

# files of torch whose frames lie between a dispatch mode and its caller
_WRAPPERS = ("_dynamo/eval_frame.py", "_compile.py")

# torch gives the nodes that accumulate gradients the largest possible number
_NO_NUMBER = 2**63


def _unpack(packed: tuple[Tensor, bool]) -> Tensor:
    tensor, needs_grad = packed
    if needs_grad and not tensor.requires_grad:
        tensor.requires_grad_()
    return tensor


def _shapes(output: Any) -> tuple[tuple[int, ...], ...]:
    """The shape of a tensor, or the shapes of a list of tensors; of anything else none."""
    each = output if isinstance(output, list | tuple) else (output,)
    whole = all(isinstance(t, Tensor) for t in each)
    return tuple(tuple(t.shape) for t in each) if whole else ()


# operators whose result autograd writes into their first operand: FunctionsManual.cpp,
# index_backward
_OVERWRITES = (_ADD, _aten.index_put.default)


def _in_place(func: Any, first: Tensor) -> bool:
    """Whether autograd's engine itself runs such an operator, and may overwrite its first operand.
    It may not add to a gradient that is a view: the storage is shared (input_buffer.cpp,
    can_accumulate_inplace)."""
    shares = func is _ADD and first._is_view()
    return not shares and _by_engine()


def _calling() -> tuple[Any, int]:
    """The Python code that called C++, and the instruction in it that did."""
    frame: Any = sys._getframe(2)
    while frame.f_code.co_filename.endswith(_WRAPPERS) and frame.f_back is not None:
        frame = frame.f_back
    return frame.f_code, frame.f_lasti


def _by_engine() -> bool:
    """Whether the engine called an operator directly, with no Python code of a backward in
    between."""
    frame = sys._getframe(3)
    while frame.f_code.co_filename.endswith(_WRAPPERS):
        if frame.f_back is None:
            return True
        frame = frame.f_back
    return frame.f_code.co_name in ("_engine_run_backward", "__torch_dispatch__")
