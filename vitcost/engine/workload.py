"""``Workload``: one model under one scenario, the seam between what knows models and what asks.

Two things make one: the engine, from a config through its op list and passes (``workload`` below),
and a trace of a torch module. Report, memory, time, fit and plan ask a workload, and do not ask
which of the two it is.
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

    ``sizes`` has the size of every axis of its tensors: integers, or arrays and symbols where the
    maker can. ``inputs`` are what the caller keeps during a forward pass, ``targets`` during a step
    besides; ``outputs`` what the model returns, ``losses`` the output that each cross entropy of
    its loss reads, where that is no part of the model. ``transient`` are tensors that are no events
    of a step, of which one is there at a time. A method that a maker has no answer for raises
    ``NotCovered`` with the reason.
    """

    scenario: Scenario
    batch: int
    sizes: Sizes
    outputs: tuple[Tensor, ...] = ()
    targets: tuple[Tensor, ...] = ()
    losses: tuple[Tensor, ...] = ()
    transient: tuple[Tensor, ...] = ()
    # heads of keys and values in each block, where there are fewer than query heads (axis a)
    kv_heads: tuple[int, ...] = ()
    # whether all ranks share one loss, as two towers do
    shares_loss: bool = False
    # whether another scenario is answered at once, without running a model
    at_once: bool = False
    # whether a step whose exact peak is not covered has a bound
    has_bound: bool = False
    # whether its top-level modules are the parts that pages name
    has_parts: bool = False
    # the class of a module that no formula describes
    family: str = ""
    # operators that may multiply matrices, and whose FLOPs no rule counts
    left_out: tuple[str, ...] = ()

    @property
    def has_letters(self) -> bool:
        """Whether symbols in place of its sizes give its memory with its numbers put in."""
        return True

    @property
    def least_batch(self) -> int:
        """The smallest batch that is known; all larger ones are."""
        return 1

    @property
    def no_step(self) -> str:
        """Why there is no training step of it; empty: there is one."""
        return ""

    def at_most(self, training: bool) -> str:
        """Why a pass may have fewer bytes at its peak than its looks say; empty: it has them."""
        return ""

    @property
    def unknown(self) -> frozenset[str]:
        """Numbers of its rows, ``pointwise`` and ``moved_bytes``, that an operator has no rule
        for."""
        return frozenset()

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        raise NotCovered("the inputs of this model")

    @property
    def training(self) -> bool:
        return self.scenario.mode == "train"

    @property
    def param_bytes(self) -> int:
        """Bytes of an element of a parameter, a gradient and a state of the optimizer."""
        return self.scenario.param_bytes

    @property
    def buffers_bytes(self) -> Size:
        """Bytes of tables, indexes and statistics that the modules have beside parameters."""
        return 0

    @property
    def step_buffers_bytes(self) -> Size:
        """The same in a training step: a forward in eval may leave tables on its module."""
        return self.buffers_bytes

    @property
    def weights_bytes(self) -> Size | None:
        """Bytes of all parameters, where some have a type of their own; None: none has."""
        return None

    @property
    def sharding(self) -> "Sharding | None":
        """How its weights are fully sharded, where they are."""
        how, e = self.scenario, self.param_bytes
        if how.recipe != "torch" or how.zero < 2:
            return None
        from vitcost.engine.sharded import Sharding

        weight = e if how.policy == "none" else PRECISIONS[how.precision].param_bytes
        reduced = weight if how.policy == "reduce-half" else e
        return Sharding(how.zero == 3, weight, e, reduced, how.keeps_gradients)

    def axis(self, name: str) -> Size:
        """The size of an axis; ``NotCovered`` for a model that has none."""
        if name not in self.sizes:
            raise NotCovered(f"this needs axis {name} of a Transformer, which this model has not")
        return self.sizes[name]

    def at(self, batch: int) -> "Workload":
        """The workload at another batch, of any size; batch 1 may run other operators."""
        return self.under(replace(self.scenario, batch=batch))

    def under(self, scenario: Scenario) -> "Workload":
        """The same model under another scenario; ``NotCovered`` where the maker has none."""
        raise NotCovered("this model under another scenario")

    def shared(self, parallel: TensorParallel) -> "Workload":
        """The workload of one of the ranks that share every layer."""
        if parallel == ALONE:
            return self
        raise NotCovered("layers of this model that tensor-parallel ranks share")

    def stage(self, stages: int) -> "Workload":
        """The widest of so many stages of a pipeline: the blocks of one, embedding and head."""
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
        """The same of a training step: forward, loss and backward, up to the optimizer's step.

        At its end the gradients are alive and the loss. Gradients that the scenario keeps from the
        backward pass before are not in it. Without ``in_place`` gradients and biases are added as
        torch's trackers see it: never in place.
        """
        raise NotCovered("the memory of this model in training")

    def whole_step(self) -> "tuple[Event, ...]":
        """``step`` with every look in it, those too that are no peak at any batch."""
        return self.step()

    def alive(self, look: int | None, training: bool) -> "tuple[Alive, ...]":
        """The tensors alive at a look of the step, or of the forward pass in eval, by the module
        that made them; None is the end."""
        raise NotCovered("the tensors alive at one moment, by module")

    def bounding(self, onto: bool = False) -> "tuple[Event, ...]":
        """The same of a step under a loss that keeps no less than any, for a bound where the exact
        step is not covered; ``onto``: no gradient is in it."""
        raise NotCovered("a bound of this model's memory in training")

    def kernels(self) -> "Launches":
        """Every operator of a forward pass in the order they run, views among them; the same object
        for every batch that runs the same."""
        raise NotCovered("the kernels of this model: no time")

    def attention(self) -> tuple[str, ...]:
        """The kernels that compute its attentions, most used first."""
        raise NotCovered("the attention kernels of this model")


def workload(config: Config, scenario: Scenario, sizes: Sizes | None = None) -> Workload:
    """A config under a scenario, through the declared op list and its passes.

    ``sizes`` are in place of the config's own: arrays or symbols, for every axis.

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
    """A config through the declared op list and its passes."""

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
        # the sizes of the whole model, before ranks share its layers
        self.whole = sizes_of(config, batch) if sizes is None else sizes
        self._folded: Row | None = None
        mode = mode_of(config, scenario)
        shared = [
            layers_of_rank(_structure(config, batch == 1, training), self.whole, mode, parallel)
            for training in (False, True)
        ]
        self._keys = [(structure, mode_of_rank) for structure, _, mode_of_rank in shared]
        self.sizes = shared[0][1]
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
        known = batch <= MOST_IMAGES
        scenario = replace(self.scenario, batch=batch) if known else self.scenario
        return _Lowered(self.config, scenario, batch, None, False, self.parallel)

    def under(self, scenario: Scenario) -> Workload:
        other = scenario.batch != self.scenario.batch
        # a caller's own sizes are those of this batch
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
            raise NotCovered("fully sharded weights of layers that tensor-parallel ranks share")
        return step_trace(*key, in_place, sharding=sharding, scales=scales)

    def bounding(self, onto: bool = False) -> "tuple[Event, ...]":
        how = {"onto": onto, "any_loss": True, "scales": self.scenario.grad_scaler}
        return step_trace(*self._keys[True], in_place=False, update=self._update, **how)

    @property
    def _update(self) -> "Update | None":
        """How the backward pass updates parameters, where it does."""
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
