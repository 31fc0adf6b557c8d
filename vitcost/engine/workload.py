"""``Workload``: one model under one scenario, the interface between models and the questions asked
of them.

There are two sources: the engine, which lowers the op list of a config (``workload`` below), and a
trace of a torch module. Report, memory, time, fit and plan ask a workload, and need not know which
source it has.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from vitcost.config.records import Record
from vitcost.config.scenario import MOST_IMAGES, PRECISIONS, Scenario
from vitcost.engine.attention_kernels import attention_kernels
from vitcost.engine.buffers import buffer_bytes
from vitcost.engine.cost import Row, fold
from vitcost.engine.gathering import gathers, over_ranks
from vitcost.engine.losses import targets
from vitcost.engine.lower import Mode, lower, mode_of
from vitcost.engine.model import AnyStructure, Config, build, sizes_of, structure_of, with_depth
from vitcost.engine.ops import Size, Sizes, Tensor
from vitcost.engine.parallel import ALONE, TensorParallel, layers_of_rank
from vitcost.engine.parameters import Parameter, parameters
from vitcost.engine.step_trace import inference_trace, step_trace
from vitcost.engine.tree import Node, ops_of
from vitcost.errors import NotCovered

# modules that few scenarios need are loaded for these
if TYPE_CHECKING:
    from vitcost.engine.launches import Launches
    from vitcost.engine.live import Event
    from vitcost.engine.sharded import Sharding
    from vitcost.engine.stepping import Update

__all__ = ["Alive", "Workload", "mode_of", "workload"]


class Alive(Record):
    """Bytes that are alive at one moment, by the part of memory and by the module that made or
    saved them."""

    part: str  # one of engine.live.PARTS
    name: str
    size_bytes: Size


class Workload:
    """One model under one scenario; ``scenario.mode`` says whether it trains.

    ``sizes`` has the size of every axis of its tensors: integers, or arrays and symbols where its
    source supports them. ``inputs`` are tensors that the caller keeps during a forward pass, and
    ``targets`` are kept too during a step. ``outputs`` are returned by the model; ``losses`` are
    the outputs that cross entropies outside of the model read. ``transient`` are tensors that the
    step's events leave out, one alive at a time. A method without an answer raises ``NotCovered``
    with the reason.
    """

    scenario: Scenario
    batch: int
    sizes: Sizes
    outputs: tuple[Tensor, ...] = ()
    targets: tuple[Tensor, ...] = ()
    losses: tuple[Tensor, ...] = ()
    transient: tuple[Tensor, ...] = ()
    # the number of key and value heads in each block, if there are fewer than query heads (axis a)
    kv_heads: tuple[int, ...] = ()
    # whether all ranks compute one joint loss, as models of two towers do
    shares_loss: bool = False
    # whether another scenario needs no new run of the model
    at_once: bool = False
    # whether a bound is known for a step whose exact peak is not covered
    has_bound: bool = False
    # whether its top-level modules match the parts named on pages
    has_parts: bool = False
    # the class of a module that no formula describes
    family: str = ""
    # operators that may multiply matrices, but whose FLOPs no rule counts
    left_out: tuple[str, ...] = ()

    @property
    def has_letters(self) -> bool:
        """Whether its memory can be given as a formula: symbols for sizes, with its numbers
        put in."""
        return True

    @property
    def least_batch(self) -> int:
        """The smallest batch whose numbers are known; all larger batches are known too."""
        return 1

    @property
    def no_step(self) -> str:
        """Why the model has no training step; empty if it has one."""
        return ""

    def at_most(self, training: bool) -> str:
        """Why the peak of a pass may be below the number that is given; empty if that number is
        exact."""
        return ""

    @property
    def unknown(self) -> frozenset[str]:
        """Numbers of its rows (``pointwise``, ``moved_bytes``) that are unknown since an operator
        has no rule."""
        return frozenset()

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """The caller's tensors of a batch: images, or tokens."""
        raise NotCovered("the inputs of this model")

    @property
    def training(self) -> bool:
        return self.scenario.mode == "train"

    @property
    def param_bytes(self) -> int:
        """Bytes per element of a parameter, a gradient and an optimizer state."""
        return self.scenario.param_bytes

    @property
    def buffers_bytes(self) -> Size:
        """Bytes of tables, indexes and statistics that the modules keep as buffers."""
        return 0

    @property
    def step_buffers_bytes(self) -> Size:
        """Bytes of buffers in a training step; they differ where a forward in eval leaves tables on
        its module."""
        return self.buffers_bytes

    @property
    def weights_bytes(self) -> Size | None:
        """Bytes of all parameters, if some have a type of their own; None if all have the
        model's."""
        return None

    @property
    def sharding(self) -> "Sharding | None":
        """How its weights are fully sharded; None if they are not."""
        how, e = self.scenario, self.param_bytes
        if how.recipe != "torch" or how.zero < 2:
            return None
        from vitcost.engine.sharded import Sharding

        weight = e if how.policy == "none" else PRECISIONS[how.precision].param_bytes
        reduced = weight if how.policy == "reduce-half" else e
        return Sharding(how.zero == 3, weight, e, reduced, how.keeps_gradients)

    def axis(self, name: str) -> Size:
        """The size of an axis. Raises ``NotCovered`` for a model without that axis."""
        if name not in self.sizes:
            raise NotCovered(f"this needs axis {name} of a Transformer, which this model has not")
        return self.sizes[name]

    def at(self, batch: int) -> "Workload":
        """The workload at another batch size; batch 1 may run other operators."""
        return self.under(replace(self.scenario, batch=batch))

    def under(self, scenario: Scenario) -> "Workload":
        """The same model under another scenario. Raises ``NotCovered`` if its source cannot give
        one."""
        raise NotCovered("this model under another scenario")

    def shared(self, parallel: TensorParallel) -> "Workload":
        """The workload of one of the ranks that share every layer."""
        if parallel == ALONE:
            return self
        raise NotCovered("tensor-parallel ranks cannot share the layers of this model")

    def stage(self, stages: int) -> "Workload":
        """The workload of the widest of ``stages`` pipeline stages: its share of the blocks,
        embedding and head."""
        if stages == 1:
            return self
        raise NotCovered("stages of a pipeline of this model")

    def rows(self) -> Row:
        """Parameters, FLOPs, memory traffic and saved bytes of every module; a run of equal modules
        is one row."""
        raise NotCovered("the costs of this model's modules")

    def parameters(self) -> tuple[Parameter, ...]:
        """Every parameter, in the order of the module's ``parameters()``, and whether it trains."""
        raise NotCovered("the parameters of this model")

    def inference(self) -> "tuple[Event, ...]":
        """Every storage that a forward pass in eval allocates and frees, in order, and the moments
        at which the sum is looked at: parameters and inputs are not in it."""
        raise NotCovered("the memory of this model in inference")

    def step(self, in_place: bool = True) -> "tuple[Event, ...]":
        """The events of a training step: forward, loss and backward, up to the optimizer's step.

        At its end the loss and the gradients are alive. Gradients that the scenario keeps from an
        earlier backward pass are not in it. Without ``in_place`` gradients and biases are never
        added in place, as torch's memory trackers see it.
        """
        raise NotCovered("the memory of this model in training")

    def whole_step(self) -> "tuple[Event, ...]":
        """``step`` with every look, even those that cannot be the peak at any batch."""
        return self.step()

    def alive(self, look: int | None, training: bool) -> "tuple[Alive, ...]":
        """The tensors alive at one look of the step, or of the forward pass in eval, by the module
        that made them; ``look`` None is the end."""
        raise NotCovered("the tensors alive at one moment, by module")

    def bounding(self, onto: bool = False) -> "tuple[Event, ...]":
        """The events of a step under a loss that saves no less than any covered loss: a bound if
        the exact step is not covered. ``onto``: parameters have gradients already, which are not in
        it."""
        raise NotCovered("a bound of this model's memory in training")

    def kernels(self) -> "Launches":
        """Every operator of a forward pass in the order they run, views among them. Batches that
        run the same operators share one object."""
        raise NotCovered("the kernels of this model: no time")

    def attention(self) -> tuple[str, ...]:
        """The attention kernels that run, most used first."""
        raise NotCovered("the attention kernels of this model")


def workload(config: Config, scenario: Scenario, sizes: Sizes | None = None) -> Workload:
    """A config under a scenario, through the declared op list and its passes.

    ``sizes`` replace the config's own: arrays or symbols, for every axis.

    >>> from vitcost.zoo import resolve
    >>> base = workload(resolve("vit_base_patch16_224").config, Scenario(batch=8))
    >>> base.rows().cost.params, base.attention(), base.at(1).rows().cost.flops
    (86567656, ('efficient',), 35127656448)
    """
    gathers(config, scenario)
    # a model that no config describes makes its own
    maker: Callable[..., Workload] | None = getattr(config, "workload", None)
    if maker is not None:
        return maker(scenario, sizes)
    return _Lowered(config, scenario, scenario.batch, sizes, sizes is not None, ALONE)


class _Lowered(Workload):
    """The workload of a config, from its declared op list and its passes."""

    at_once = True
    has_bound = True
    has_parts = True

    def __init__(
        self,
        config: Config,
        scenario: Scenario,
        batch: int,
        sizes: Sizes | None,
        fixed_sizes: bool,
        parallel: TensorParallel,
    ) -> None:
        self.config, self.scenario, self.batch = config, scenario, batch
        self.fixed_sizes, self.parallel = fixed_sizes, parallel
        # the sizes of the whole model; tensor-parallel ranks have shares of them
        self.whole = sizes_of(config, batch) if sizes is None else sizes
        self._folded: Row | None = None
        mode = mode_of(config, scenario)
        of_rank = [
            layers_of_rank(_structure(config, batch == 1, training), self.whole, mode, parallel)
            for training in (False, True)
        ]
        # the arguments of ``lower``, in eval and in training
        self._keys = [(structure, mode_of_rank) for structure, _, mode_of_rank in of_rank]
        self.sizes = of_rank[0][1]
        tree = self._tree(self.training)
        self._inputs, self.outputs = tree.inputs, (tree.output, *tree.also)
        self.losses = (tree.output,) * config.losses
        self.kv_heads = getattr(config, "kv_heads", ())
        self.shares_loss = hasattr(config, "vision")
        self.targets = targets(self.outputs if config.losses else ())
        if mode.gather:
            self.sizes = Sizes({**self.sizes, **over_ranks(scenario.ranks, self.sizes["b"])})
        if self.sharding is not None:
            from vitcost.engine.sharded import unit_sizes, wrapped

            units = unit_sizes(wrapped(self._tree(True)), self.sizes, scenario.ranks)
            self.sizes = Sizes(self.sizes | units)
        if parallel.sequence:
            self.transient = tuple(op.write for op in ops_of(tree) if op.kind == "regather")

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        return self._inputs

    def at(self, batch: int) -> Workload:
        if self.fixed_sizes:
            raise NotCovered(f"batch {batch} of sizes that were given")
        # a scenario has no larger batch; a search for the largest one asks for more
        has_batch = batch <= MOST_IMAGES
        scenario = replace(self.scenario, batch=batch) if has_batch else self.scenario
        return _Lowered(self.config, scenario, batch, None, False, self.parallel)

    def under(self, scenario: Scenario) -> Workload:
        other = scenario.batch != self.scenario.batch
        # sizes that a caller gave are valid for this batch only
        if self.fixed_sizes and other:
            raise NotCovered(f"batch {scenario.batch} of sizes that were given")
        batch, sizes = (scenario.batch, None) if other else (self.batch, self.whole)
        return _Lowered(self.config, scenario, batch, sizes, self.fixed_sizes, self.parallel)

    def shared(self, parallel: TensorParallel) -> Workload:
        if parallel == self.parallel:
            return self
        return _Lowered(
            self.config, self.scenario, self.batch, self.whole, self.fixed_sizes, parallel
        )

    def stage(self, stages: int) -> Workload:
        if stages == 1:
            return self
        config = with_depth(self.config, self.axis("L") // stages)
        return _Lowered(config, self.scenario, self.batch, None, False, self.parallel)

    @property
    def buffers_bytes(self) -> Size:
        # tensor-parallel ranks hold whole buffers
        tree = build(_structure(self.config, self.batch == 1, False))
        return buffer_bytes(tree, self.whole, self.param_bytes)

    def rows(self) -> Row:
        if self._folded is None:
            self._folded = fold(self._tree(self.training), self.sizes)
        return self._folded

    def parameters(self) -> tuple[Parameter, ...]:
        structure, mode = self._keys[True]
        # precision and attention kernel do not change the list of parameters
        return _parameters(structure, mode._replace(kernel="sdpa", precision="fp32", half="bf16"))

    def inference(self) -> "tuple[Event, ...]":
        return inference_trace(*self._keys[False])

    def step(self, in_place: bool = True) -> "tuple[Event, ...]":
        onto, sharding = self.scenario.keeps_gradients, self.sharding
        key, scales = self._keys[True], self.scenario.grad_scaler
        if sharding is None:
            return step_trace(*key, in_place, onto=onto, update=self._update, scales=scales)
        if self.parallel != ALONE:
            raise NotCovered("fully sharded weights are not covered beside tensor parallel")
        return step_trace(*key, in_place, sharding=sharding, scales=scales)

    def bounding(self, onto: bool = False) -> "tuple[Event, ...]":
        how = {"onto": onto, "any_loss": True, "scales": self.scenario.grad_scaler}
        return step_trace(*self._keys[True], in_place=False, update=self._update, **how)

    @property
    def _update(self) -> "Update | None":
        """The temporaries of an optimizer that steps inside the backward pass; None if it
        does not."""
        how = self.scenario
        if how.optimizer_in_backward:
            from vitcost.engine.stepping import update_of

            return update_of(how.optimizer, how.platform)
        return None

    def kernels(self) -> "Launches":
        return _launches(*self._keys[self.training])

    def attention(self) -> tuple[str, ...]:
        return attention_kernels(self._tree(self.training), self.sizes)

    def _tree(self, training: bool) -> Node:
        return lower(*self._keys[training])


@lru_cache(maxsize=256)
def _structure(config: Config, one_image: bool, training: bool) -> AnyStructure:
    return structure_of(config, 1 if one_image else 2, training)


@lru_cache(maxsize=512)
def _launches(structure: AnyStructure, mode: Mode) -> "Launches":
    from vitcost.engine.launches import Launches, flatten

    return Launches(flatten(lower(structure, mode)))


@lru_cache(maxsize=256)
def _parameters(structure: AnyStructure, mode: Mode) -> tuple[Parameter, ...]:
    return tuple(parameters(lower(structure, mode)))
