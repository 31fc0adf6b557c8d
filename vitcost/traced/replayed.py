"""Runs operators on fake tensors, and torch's shape functions only once for each distinct call.

A network calls few operators on few shapes, but many times: in every layer, and in the step again.
A second call gets outputs with the memory layouts of the first. torch has a cache of its own for
this, but looking into it takes as long as running a module.
"""

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._pytree import tree_leaves

from vitcost.traced.corrections import as_real
from vitcost.traced.norms import laid_out
from vitcost.traced.products import flops_of

__all__ = ["Ran", "Spec", "faker", "name_of", "ran", "spec_of"]

# shape, type, and strides (None if contiguous)
Spec = tuple[tuple[int, ...], str, tuple[int, ...] | None]


class Ran(NamedTuple):
    """A call of an operator that ran: its output, the tensors that it read, and those that it
    wrote."""

    output: Any
    reads: list[Tensor]
    writes: list[Tensor]
    read_specs: tuple[Spec, ...]
    write_specs: tuple[Spec, ...]
    flops: int


class _Lies(NamedTuple):
    """The memory layout of an output, on a storage of its own, or on that of an argument, given by
    its index."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int
    dtype: torch.dtype
    device: torch.device
    storage: int  # -1: a storage of its own
    attributes: dict[str, Any]


class _Known(NamedTuple):
    """A call that ran before; an output that is one of the arguments is stored as its index, and an
    absent one as None."""

    kind: type | None  # tuple or list; None: the output is a single tensor
    outputs: tuple[_Lies | int | None, ...]
    read_specs: tuple[Spec, ...]
    write_specs: tuple[Spec, ...]
    flops: int


_KNOWN: dict[tuple[Any, ...], _Known] = {}
# an entry takes about 1.5 kB: a process that traces many models must not fill its memory
_MOST = 20_000


@cache
def name_of(func: Any) -> str:
    """An operator's name without its overload.

    >>> name_of(torch.ops.aten.add.Tensor)
    'add'
    """
    return str(func._overloadpacket).removeprefix("aten.")


def ran(mode: FakeTensorMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Ran:
    """An operator's output as a real kernel would lay it out, and the tensors that the call read
    and wrote.

    >>> mode = FakeTensorMode()
    >>> with mode:
    ...     a, b = torch.empty(197, 768), torch.empty(768, 3072)
    >>> call = ran(mode, torch.ops.aten.mm.default, (a, b), {})
    >>> tuple(call.output.shape), call.flops == 2 * 197 * 768 * 3072
    ((197, 3072), True)
    """
    reads: list[Tensor] = []
    key: list[Any] = [func]
    fits = _replayable(func) and _describe(key, reads, args, mode)
    fits = fits and (not kwargs or _describe(key, reads, kwargs.items(), mode))
    if not fits:
        reads = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        return _first(func, args, kwargs, reads)
    key.append(torch.get_default_dtype())
    call_key = tuple(key)
    known = _KNOWN.get(call_key)
    if known is None:
        first = _first(func, args, kwargs, reads)
        entry = _entry(first)
        if entry is not None:
            if len(_KNOWN) >= _MOST:
                _KNOWN.clear()
            _KNOWN[call_key] = entry
        return first
    arrays = [
        None if lies is None else reads[lies] if isinstance(lies, int) else _made(lies, reads, mode)
        for lies in known.outputs
    ]
    writes = [t for t in arrays if t is not None]
    output: Any = arrays[0] if known.kind is None else known.kind(arrays)
    return Ran(output, reads, writes, known.read_specs, known.write_specs, known.flops)


def faker(mode: FakeTensorMode) -> Callable[[Tensor, torch.dtype, str], Tensor]:
    """A function that makes a fake tensor with the memory layout of another, of a given type and on
    a given device.

    >>> with FakeTensorMode() as mode:
    ...     fake = faker(mode)(torch.ones(8, 4).t(), torch.bfloat16, "cpu")
    >>> type(fake).__name__, fake.stride(), fake.dtype
    ('FakeTensor', (1, 4), torch.bfloat16)
    """
    func = torch.ops.aten.empty_strided.default

    def fake(tensor: Tensor, dtype: torch.dtype, device: str) -> Tensor:
        lies = [*tensor.shape], [*tensor.stride()]
        copy: Tensor = ran(
            mode, func, lies, {"dtype": dtype, "device": torch.device(device)}
        ).output
        return copy

    return fake


def _first(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], reads: list[Tensor]) -> Ran:
    # taken before the call, since an operator may change the shape of an argument
    specs = tuple(map(spec_of, reads))
    output = as_real(func, args, laid_out(func, args, kwargs))
    writes = [t for t in tree_leaves(output) if isinstance(t, Tensor)]
    flops = flops_of(func._overloadpacket, name_of(func), args, kwargs, output)
    return Ran(output, reads, writes, specs, tuple(map(spec_of, writes)), flops)


@cache
def _replayable(func: Any) -> bool:
    """Whether an operator's outputs follow from the shapes of its arguments alone, and the
    arguments keep their layout."""
    return (
        isinstance(func, OpOverload)
        and func.namespace in ("aten", "prims")
        and not _BY_VALUE & set(func.tags)
        and not any(argument.is_out for argument in func._schema.arguments)
        and "lift" not in name_of(func)
    )


# operators that change the layout of their argument, or whose outputs depend on values
_BY_VALUE = {torch.Tag.inplace_view, torch.Tag.data_dependent_output}

# types of arguments that are equal for a call if their values are equal
_PLAIN = frozenset({
    int, float, bool, str, type(None), torch.dtype, torch.device, torch.layout,
    torch.memory_format,
})  # fmt: skip


def _describe(
    key: list[Any], tensors: list[Tensor], values: Iterable[Any], mode: FakeTensorMode
) -> bool:
    """Adds to a key everything that decides the layout of the outputs; False if a value cannot be
    described."""
    for value in values:
        kind = type(value)
        if kind is FakeTensor:
            dtype = value.dtype
            if value.constant is not None or value.fake_mode is not mode or dtype.is_complex:
                return False
            # a view of an imaginary part may carry a pending sign
            if value.layout is not torch.strided or value.is_neg():
                return False
            key += (value.shape, value.stride(), value.storage_offset(), dtype, value.fake_device)
            tensors.append(value)
        elif kind in _PLAIN:
            key += (kind, value)
        elif kind is tuple or kind is list:
            key += (kind, len(value))
            if not _describe(key, tensors, value, mode):
                return False
        else:
            return False
    return True


def _entry(first: Ran) -> _Known | None:
    """A call in a form from which it can be repeated; None if an output cannot."""
    output = first.output
    kind = type(output) if type(output) in (tuple, list) else None
    places = {id(t): place for place, t in reversed(list(enumerate(first.reads)))}
    storages = {t.untyped_storage()._cdata: p for p, t in reversed(list(enumerate(first.reads)))}
    outputs: list[_Lies | int | None] = []
    fresh: set[int] = set()
    for leaf in output if kind is not None else (output,):
        if leaf is None:
            outputs.append(None)
        elif type(leaf) is not FakeTensor:
            return None
        elif id(leaf) in places:
            outputs.append(places[id(leaf)])
        else:
            storage = leaf.untyped_storage()
            lies = _lies(leaf, storages.get(storage._cdata, -1))
            if lies is None or storage._cdata in fresh:
                return None
            if lies.storage < 0:
                fresh.add(storage._cdata)
            outputs.append(lies)
    return _Known(kind, tuple(outputs), first.read_specs, first.write_specs, first.flops)


def _lies(leaf: FakeTensor, storage: int) -> _Lies | None:
    """The memory layout of a tensor; None if a tensor of the same shape could have another."""
    shape, strides, offset = tuple(leaf.shape), leaf.stride(), int(leaf.storage_offset())
    attributes = {k: v for k, v in vars(leaf).items() if k != "fake_mode"}
    if leaf.constant is not None or any(isinstance(v, Tensor) for v in attributes.values()):
        return None
    if leaf.dtype.is_complex or leaf.layout is not torch.strided:
        return None
    if leaf.requires_grad or leaf.is_neg():
        return None
    if storage < 0:
        reach = 1 + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
        size = leaf.element_size() * (reach if 0 not in shape else 0)
        if offset or leaf.untyped_storage().nbytes() != size:
            return None
    return _Lies(shape, strides, offset, leaf.dtype, leaf.fake_device, storage, attributes)


def _made(lies: _Lies, reads: list[Tensor], mode: FakeTensorMode) -> Tensor:
    """A fake tensor with a stored memory layout."""
    shape, strides = lies.shape, lies.strides
    with torch._C._DisableTorchDispatch():
        if lies.storage < 0:
            meta = torch.empty_strided(shape, strides, dtype=lies.dtype, device="meta")
        else:
            meta = torch.empty(0, dtype=lies.dtype, device="meta")
            storage: Any = reads[lies.storage].untyped_storage()
            meta.set_(storage, lies.offset, shape, strides)
        # the same as FakeTensor(mode, meta, device), with the attributes that its constructor sets
        fake: Any = Tensor._make_subclass(
            FakeTensor, meta, False, dispatch_device=True, device_for_backend_keys=lies.device
        )
    torch._C._set_throw_on_mutable_data_ptr(fake)
    vars(fake).update(lies.attributes)
    fake.fake_mode = mode
    return fake  # type: ignore[no-any-return]


def spec_of(tensor: Tensor) -> Spec:
    """A tensor's shape, type and strides; no strides if it is contiguous.

    >>> spec_of(torch.ones(2, 3)), spec_of(torch.ones(2, 3).t())
    (((2, 3), 'float32', None), ((3, 2), 'float32', (1, 3)))
    """
    in_order = tensor.is_contiguous()
    strides = None if in_order else tuple(tensor.stride())
    return tuple(tensor.shape), str(tensor.dtype)[6:], strides
