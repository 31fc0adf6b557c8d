"""The module tree: the ops of a torch model's forward, in order, under the torch module paths."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from vitcost.config.records import Record
from vitcost.engine.ops import Axis, Op, Size, Sizes, Tensor, param, quick

__all__ = [
    "APART",
    "REGION",
    "Copy",
    "Count",
    "Module",
    "Node",
    "Run",
    "joined",
    "linear",
    "nodes_of",
    "norm",
    "ops_of",
]

# the node type of a checkpointed region; torch has no module there, so the node has no name
REGION = "Checkpoint"
# modules whose repeated parts are not blocks of the Transformer: a hybrid's backbone, and a loss
APART = ("HybridEmbed", "SigLipLoss")


class Count(NamedTuple):
    """How many layers: an axis, or a number, less some that were split off."""

    axis: Axis
    less: int = 0

    def of(self, sizes: Sizes) -> Size:
        return sizes[self.axis] - self.less


class Run(Record):
    """Equal layers in a row: how many, and how many layers stand before the first of them."""

    layers: Count
    before: tuple[Count, ...] = ()

    def split(self) -> "tuple[Run, Run | None]":
        """The first layer of a run, and the rest of the run if there is one."""
        one, (axis, less) = Count(1), self.layers
        rest = Count(axis - 1) if isinstance(axis, int) else Count(axis, less + 1)
        first = Run(one, self.before)
        return first, None if rest.axis == 0 else Run(rest, (*self.before, one))


@quick
class Node(NamedTuple):
    """One module call, or a run of equal ones: its ops and child modules in the order they run."""

    name: str
    type: str
    body: "tuple[Op | Node, ...]"
    inputs: tuple[Tensor, ...]
    output: Tensor
    group: str = ""
    run: Run | None = None
    # locals of the module's forward that live until it returns
    held: tuple[Tensor, ...] = ()
    # tensors that the module returns besides its output
    also: tuple[Tensor, ...] = ()
    # a ModuleList that the parent's forward iterates (`for b in self.blocks: x = b(x)`): the input
    # is freed once the first layer has read it. An nn.Sequential would keep it
    walked: bool = False
    # the fully_shard unit of the module: the axis of its parameters, see ``sharded``
    unit: str = ""
    # children that the module registers last, in this order, wherever its forward calls them
    registered: tuple[str, ...] = ()
    # buffers of its module
    buffers: tuple[Tensor, ...] = ()
    # whether its own forward runs; if not, the parent's forward reads its parameters
    called: bool = True

    def times(self, sizes: Sizes) -> Size:
        """How often the node is called: once for each layer of its run."""
        return 1 if self.run is None else self.run.layers.of(sizes)

    def layers(self, sizes: Sizes) -> Size:
        """How many layers the runs in its body have."""
        runs = (item.run for item in self.body if isinstance(item, Node))
        return sum(run.layers.of(sizes) for run in runs if run is not None)

    def each(self, child: "Callable[[Node], Node]", op: Callable[[Op], Op] | None = None) -> "Node":
        """A copy of the node: every child and every op is replaced by what the function returns for
        it."""
        body: list[Op | Node] = []
        for item in self.body:
            if isinstance(item, Node):
                body.append(child(item))
            else:
                body.append(item if op is None else op(item))
        return self._replace(body=tuple(body))


class Copy:
    """Copies a node, with a new tensor for each tensor that it writes."""

    def __init__(self, known: dict[Tensor, Tensor]) -> None:
        self.known = known

    def node(self, node: Node) -> Node:
        return node.each(self.node, self.op)._replace(
            inputs=self.all(node.inputs),
            output=self.read(node.output),
            held=self.all(node.held) if node.held else (),
            also=self.all(node.also) if node.also else (),
        )

    def op(self, op: Op) -> Op:
        reads = self.all(op.reads)
        return op._replace(
            reads=reads,
            write=self.write(op.write),
            extra=tuple(map(self.write, op.extra)) if op.extra else (),
            weight=None if op.weight is None else self.read(op.weight),
            bias=None if op.bias is None else self.read(op.bias),
            holds=self.all(op.holds) if op.holds else (),
            saves=self.all(op.saves) if op.saves else (),
            keeps=self.all(op.keeps) if op.keeps else (),
            parts=tuple(map(self.op, op.parts)) if op.parts else op.parts,
        )

    def write(self, tensor: Tensor) -> Tensor:
        if tensor not in self.known:
            base = None if tensor.base is None else self.read(tensor.base)
            copy = Tensor(tensor.name, tensor.axes, tensor.role, base, tensor.itemsize)
            self.known[tensor] = copy
        return self.known[tensor]

    def read(self, tensor: Tensor) -> Tensor:
        return self.known.get(tensor, tensor)

    def all(self, tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(map(self.known.get, tensors, tensors))


def joined(path: str, name: str) -> str:
    """The path of a module of this name inside another; a region has no name."""
    return f"{path}.{name}" if path and name else path or name


def ops_of(node: Node) -> Iterator[Op]:
    """The ops of a tree in the order they run; a run of equal layers gives the ops of one."""
    for item in node.body:
        if isinstance(item, Op):
            yield item
        else:
            yield from ops_of(item)


def nodes_of(node: Node) -> Iterator[Node]:
    """The node and every node inside it, each before those that it contains."""
    yield node
    for item in node.body:
        if isinstance(item, Node):
            yield from nodes_of(item)


class Module:
    """Records the forward of one module: read a layer function like the torch code it describes."""

    def __init__(self, name: str, kind: str, *inputs: Tensor, group: str = "") -> None:
        self.name, self.kind, self.inputs, self.group = name, kind, inputs, group
        self.body: list[Op | Node] = []
        self.held: list[Tensor] = []
        self.also: list[Tensor] = []
        self.registered: tuple[str, ...] = ()
        self.buffers: list[Tensor] = []

    def op(
        self,
        kind: str,
        *reads: Tensor,
        axes: tuple[Axis, ...] | None = None,
        over: tuple[Axis, ...] = (),
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        group: str = "",
        name: str = "",
        parts: tuple[Op, ...] | None = None,
        holds: tuple[Tensor, ...] = (),
        itemsize: int = 0,
    ) -> Tensor:
        """Appends an op and returns its output, which has the axes of its first read unless
        ``axes`` are given."""
        shape = axes if axes is not None else reads[0].axes
        written = Tensor(name or kind, shape, itemsize=itemsize)
        group = group or self.group
        self.body.append(Op(kind, reads, written, over, weight, bias, group, parts, False, holds))
        return written

    def view(
        self,
        x: Tensor,
        axes: tuple[Axis, ...],
        name: str = "",
        group: str = "",
        kind: str = "view",
    ) -> Tensor:
        """A view: another tensor on the same storage."""
        written = Tensor(name or x.name, axes, x.role, base=x)
        self.body.append(Op(kind, (x,), written, group=group or self.group))
        return written

    def cast(
        self,
        x: Tensor,
        like: Tensor | None = None,
        group: str = "",
        holds: tuple[Tensor, ...] = (),
    ) -> Tensor:
        """A cast to the precision of another tensor, or to fp32."""
        reads = (x,) if like is None else (x, like)
        role = "activation" if x.role == "param" else x.role
        written = Tensor(x.name, x.axes, role, itemsize=4 if like is None else 0)
        self.body.append(Op("cast", reads, written, group=group or self.group, holds=holds))
        return written

    def overwrite(self, kind: str, x: Tensor, *reads: Tensor) -> Tensor:
        """Appends an op that overwrites its first read."""
        written = Tensor(kind, x.axes, x.role, base=x)
        self.body.append(Op(kind, (x, *reads), written, group=self.group))
        return written

    def parameter(self, name: str, *axes: Axis, trains: bool = True) -> Tensor:
        """A parameter of the module itself, such as a class token. A parameter that is fixed, or
        that the forward does not use, gets no gradient."""
        weight = Tensor(name, axes, "param")
        read = Tensor(name, axes, "param", base=weight)
        op = Op("parameter", (), read, weight=weight, frozen=not trains)
        self.body.append(Node(name, "Parameter", (op,), (), read))
        return read

    def buffer(self, name: str, *axes: Axis, itemsize: int = 0) -> Tensor:
        """A buffer of the module, in the precision of the model unless ``itemsize`` is given. Like
        the image, it is not allocated by the forward."""
        self.buffers.append(Tensor(name, axes, "input", itemsize=itemsize))
        return self.buffers[-1]

    def add(self, node: Node) -> Tensor:
        """Appends a child module's call and returns its output."""
        self.body.append(node)
        return node.output

    def leaf(self, name: str, kind: str, op: str, x: Tensor, group: str = "") -> Tensor:
        """A child module of one op and no parameters; ``op=""`` is an Identity or an inactive
        Dropout."""
        child = Module(name, kind, x, group=group or self.group)
        y = child.op(op, x) if op else x
        return self.add(child.end(y))

    def hold(self, *tensors: Tensor) -> None:
        self.held += tensors

    def hold_through(self, *tensors: Tensor) -> None:
        """Keeps locals alive until the child module that was called last returns."""
        last = self.body[-1]
        assert isinstance(last, Node)
        self.body[-1] = last._replace(inputs=(*last.inputs, *tensors))

    def returns(self, *tensors: Tensor) -> None:
        """The tensors that the forward returns besides its output."""
        self.also += tensors

    def registers(self, *names: str) -> None:
        """Names children that the module registers after all others of their kind, in order."""
        self.registered = names

    def end(self, output: Tensor, run: Run | None = None) -> Node:
        return Node(
            self.name,
            self.kind,
            tuple(self.body),
            self.inputs,
            output,
            self.group,
            run,
            tuple(self.held),
            tuple(self.also),
            registered=self.registered,
            buffers=tuple(self.buffers),
        )


def linear(
    parent: Module,
    name: str,
    x: Tensor,
    out: Axis,
    bias: bool = True,
    joined: Tensor | None = None,
    by_input: bool = False,
) -> Tensor:
    """``nn.Linear``: contracts the last axis of ``x`` into ``out``. ``joined`` is a bias that the
    parent joins from parts: the parent's forward then reads the weight itself, and the layer is not
    called. ``by_input``: ``x @ weight``, a parameter of the parent that has a row for each input.
    """
    *outer, h = x.axes
    rows = (h, out) if by_input else (out, h)
    of_layer = Tensor("bias", (out,), "param") if bias else None
    child = Module(name, "Parameter" if by_input else "Linear", x)
    y = child.op(
        "linear",
        x,
        axes=(*outer, out),
        over=(h,),
        weight=Tensor("weight", rows, "param"),
        bias=of_layer if joined is None else joined,
    )
    return parent.add(child.end(y)._replace(called=joined is None))


def norm(parent: Module, name: str, x: Tensor, kind: str = "LayerNorm") -> Tensor:
    """``nn.LayerNorm`` over the last axis, with a weight and a bias of that size."""
    child = Module(name, kind, x)
    h = str(x.axes[-1])
    y = child.op("norm", x, weight=param("weight", h), bias=param("bias", h))
    return parent.add(child.end(y))
