"""The inputs of a traced module: the user's (``--input [NAME=]SHAPE[:dtype]``), or by default the
inputs that the module declares."""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from vitcost.errors import ConfigError, NotCovered, UnknownName, shown
from vitcost.traced.leaves import tensors
from vitcost.traced.trace import ITEMSIZE

__all__ = ["Arguments", "Inputs", "Shape", "inputs_of", "parse", "written"]


_SPELLED = re.compile(r"(?:([A-Za-z_]\w*)=)?(\d+(?:x\d+)*)?(?::(\w+))?")
# the longest side, and the most elements, that the input of one image may have
_LONGEST, _MOST = 10**7, 10**10


class Shape(NamedTuple):
    """One input of an image: its name ("" if passed by position), its sides, and its type ("" for
    the module's type)."""

    name: str
    sides: tuple[int, ...]
    dtype: str


def parse(texts: Sequence[str]) -> tuple[Shape, ...]:
    """Reads inputs as ``--input`` spells them, else raises ``ConfigError``. An empty shape is one
    number for each image.

    >>> parse(["image=3x224x224", "ids=77:int64"])[1]
    Shape(name='ids', sides=(77,), dtype='int64')
    >>> written(parse(["3x16x224x224"]))
    '3x16x224x224'
    """
    shapes = tuple(map(_parsed, texts))
    names = [shape.name for shape in shapes if shape.name]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"input {name} is given twice")
    return shapes


def _parsed(text: str) -> Shape:
    match = _SPELLED.fullmatch(text) if isinstance(text, str) else None
    if match is None or not text:
        raise ConfigError(
            f"an input is [NAME=]SHAPE[:dtype] without the batch, as in 3x224x224 or ids=77:int64, "
            f"got {shown(text)}"
        )
    name, sides, dtype = match[1] or "", match[2] or "", match[3] or ""
    if dtype and dtype not in ITEMSIZE:
        raise UnknownName("dtype", dtype, ITEMSIZE, f"types: {', '.join(ITEMSIZE)}")
    numbers = tuple(int(side) for side in sides.split("x") if len(side) < 12)
    if len(numbers) != len(sides.split("x")) * bool(sides) or prod(numbers) > _MOST:
        raise ConfigError(f"input {shown(text)} is larger than {_MOST:,} elements")
    if any(not 1 <= side <= _LONGEST for side in numbers):
        raise ConfigError(f"the sides of an input are from 1 to {_LONGEST:,}, got {shown(text)}")
    return Shape(name, numbers, dtype)


def written(shapes: Sequence[Shape]) -> str:
    """The inputs as ``--input`` spells them.

    >>> written(parse(["3x224x224"])), written(parse(["input_ids=77:int64"]))
    ('3x224x224', 'input_ids=77:int64')
    """
    return ", ".join(
        f"{shape.name}=" * bool(shape.name)
        + "x".join(map(str, shape.sides))
        + f":{shape.dtype}" * bool(shape.dtype)
        for shape in shapes
    )


class Arguments(NamedTuple):
    """The arguments of a forward."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    @property
    def batch(self) -> Any:
        """The argument that a loss gets as the batch: the dictionary of inputs, or all inputs, or
        the only one."""
        if self.kwargs:
            return dict(self.kwargs)
        return self.args[0] if len(self.args) == 1 else self.args

    def tensors(self) -> list[Tensor]:
        """All tensors among them, inside lists and dictionaries too."""
        return list(tensors((self.args, dict(self.kwargs))))


class Inputs(NamedTuple):
    """Makes the inputs of a batch; ``note`` says where their shapes come from."""

    make: Callable[[int], Any]
    note: str

    def at(self, batch: int, device: str, dtype: torch.dtype | None) -> Arguments:
        """Fake inputs of a batch on a device; floats get ``dtype`` if it is given."""
        arguments = self.make(batch)

        def placed(leaf: Any) -> Any:
            if not isinstance(leaf, Tensor):
                return leaf
            kind = dtype if dtype is not None and leaf.is_floating_point() else leaf.dtype
            new = torch.empty(leaf.shape, dtype=kind, device=device)
            return new.requires_grad_(leaf.requires_grad)

        arguments = tree_map(placed, arguments)
        if isinstance(arguments, Mapping):
            return Arguments((), dict(arguments))
        return Arguments(
            tuple(arguments) if isinstance(arguments, tuple | list) else (arguments,), {}
        )


def inputs_of(model: nn.Module, inputs: Any = None, beside: Any = None) -> Inputs:
    """The inputs of a module, from the first source that there is: ``inputs`` (spellings, a
    callable of the batch, example tensors), ``beside`` (returned by the factory with the module),
    the module's declaration, images.

    Raises ``ConfigError`` for inputs that the forward does not take, ``NotCovered`` for a text
    model of transformers whose config has no length.

    >>> inputs = inputs_of(nn.Linear(768, 1000), "197x768")
    >>> inputs.at(8, "meta", None).args[0].shape, inputs.note
    (torch.Size([8, 197, 768]), 'inputs: 197x768')
    """
    if inputs is not None:
        return _given(model, inputs, "inputs: ")
    if isinstance(beside, Inputs):
        return beside
    if beside is not None:
        return _given(model, beside, "inputs that the factory returns: ")
    examples = getattr(model, "example_inputs", None)
    if callable(examples):
        return _given(model, examples, "inputs of its example_inputs")
    array = getattr(model, "example_input_array", None)
    if array is not None:
        return _given(model, array, "inputs like its example_input_array")
    by_config = _of_transformers(model) or _of_timm(model)
    note = "inputs by its config: " if by_config else "inputs: "
    shapes = by_config or parse(["3x224x224"])
    return Inputs(_by_shape(model, shapes), f"{note}{written(shapes)}, the default" if not by_config
                  else f"{note}{written(shapes)}")  # fmt: skip


def _given(model: nn.Module, given: Any, note: str) -> Inputs:
    if isinstance(given, str):
        given = [given]
    if isinstance(given, Sequence) and given and all(isinstance(t, str) for t in given):
        shapes = parse(given)
        return Inputs(_by_shape(model, shapes), f"{note}{written(shapes)}")
    if callable(given) and not isinstance(given, nn.Module):
        if not note.startswith("inputs of"):
            note += getattr(given, "__qualname__", "a callable")
        return Inputs(_as_taken(model, given), note)
    return Inputs(_as_taken(model, _repeated(given)), f"{note.rstrip(': ')}, repeated along axis 0")


def _as_taken(model: nn.Module, make: Callable[[int], Any]) -> Callable[[int], Any]:
    """Passes a dictionary as the keywords of a forward, or as its one input if the forward has none
    of its keys as a parameter."""

    def made(batch: int) -> Any:
        inputs = make(batch)
        named = isinstance(inputs, Mapping) and all(isinstance(key, str) for key in inputs)
        return (inputs,) if named and _takes_one(model, list(inputs)) else inputs

    return made


def _by_shape(model: nn.Module, shapes: Sequence[Shape]) -> Callable[[int], Any]:
    floats = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)

    def tensor(shape: Shape, batch: int) -> Tensor:
        kind = getattr(torch, shape.dtype) if shape.dtype else floats
        return torch.empty((batch, *shape.sides), dtype=kind)

    names = [shape.name for shape in shapes]
    if not all(names) and any(names):
        raise ConfigError("give every input its NAME=, or none")
    whole = all(names) and _takes_one(model, names)

    def make(batch: int) -> Any:
        if not all(names):
            return tuple(tensor(shape, batch) for shape in shapes)
        named = {shape.name: tensor(shape, batch) for shape in shapes}
        return (named,) if whole else named

    return make


def _takes_one(model: nn.Module, names: Sequence[str]) -> bool:
    """Whether the forward takes the whole dictionary as one input: none of its keys is a parameter,
    and one parameter is required."""
    parameters = inspect.signature(model.forward).parameters
    if all(name in parameters for name in names):
        return False
    kinds = {p.kind for p in parameters.values()}
    if inspect.Parameter.VAR_KEYWORD in kinds:
        return False
    needed = [n for n, p in parameters.items() if p.default is p.empty]
    if len(needed) == 1 and not any(name in parameters for name in names):
        return True
    unknown = next(name for name in names if name not in parameters)
    raise ConfigError(
        f"the forward of {type(model).__name__} takes no {unknown}: {', '.join(parameters)}"
    )


def _repeated(examples: Any) -> Callable[[int], Any]:
    """Examples repeated along axis 0, if all of them have the same length along it."""
    lengths = {len(t) if t.dim() else 0 for t in tensors(examples)}
    if len(lengths) != 1 or 0 in lengths:
        raise ConfigError(
            f"example inputs must be tensors that share axis 0, the batch, got {shown(examples)}; "
            "a callable from a batch to the inputs says how they grow"
        )

    def make(batch: int) -> Any:
        return tree_map(lambda t: _like(t, batch) if isinstance(t, Tensor) else t, examples)

    return make


def _like(tensor: Tensor, batch: int) -> Tensor:
    new = torch.empty((batch, *tensor.shape[1:]), dtype=tensor.dtype)
    return new.requires_grad_(tensor.requires_grad)


def _of_timm(model: nn.Module) -> tuple[Shape, ...]:
    config: Any = getattr(model, "pretrained_cfg", None) or getattr(model, "default_cfg", None)
    size = config.get("input_size") if isinstance(config, Mapping) else None
    if not size:
        return ()
    image: Any = getattr(getattr(model, "patch_embed", None), "img_size", None)
    channels = _channels(model, config.get("first_conv"), size[0])
    sides = tuple(image) if isinstance(image, tuple | list) else size[1:]
    return (Shape("", (channels, *map(int, sides)), ""),)


def _channels(model: nn.Module, first: Any, usual: int) -> int:
    """The channels of a timm model's images: its first convolution has them, and its config names
    that layer. TResNet's first layer reads 4 × 4 pixels as channels."""
    names = [first] if isinstance(first, str) else list(first or ())
    try:
        module: Any = model.get_submodule(names[0]) if names else None
    except AttributeError:
        return usual
    channels = getattr(module, "in_channels", usual)
    return usual if channels == 16 * usual else int(channels)


def _of_transformers(model: nn.Module) -> tuple[Shape, ...]:
    """Images, videos and text with the sizes in the config of a transformers model."""
    config: Any = getattr(model, "config", None)
    if not any(c.__module__.startswith("transformers.") for c in type(model).__mro__):
        return ()
    names = inspect.signature(model.forward).parameters
    return tuple(_of_config(config, names))


def _of_config(config: Any, names: Mapping[str, Any]) -> Iterator[Shape]:
    if "input_ids" in names:
        text: Any = getattr(config, "text_config", config)
        length = getattr(text, "max_position_embeddings", None)
        if not isinstance(length, int):
            raise NotCovered("its config has no max_position_embeddings: give --input input_ids=…")
        yield Shape("input_ids", (length,), "int64")
    if "pixel_values" in names:
        vision: Any = getattr(config, "vision_config", config)
        size = getattr(vision, "image_size", None) or 224
        sides = tuple(size) if isinstance(size, tuple | list) else (size, size)
        channels = getattr(vision, "num_channels", 3)
        frames = getattr(vision, "num_frames", None)
        image = (channels, *sides)
        yield Shape("pixel_values", (frames, *image) if frames else image, "")
