"""``Scenario``: how a model runs, with every choice resolved and named."""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, cast

from vitcost.config.fields import as_python, whole
from vitcost.config.numbered import checkpointed, frozen, torch_version
from vitcost.config.optimizers import OPTIMIZERS
from vitcost.config.records import Record, immutable
from vitcost.config.words import value
from vitcost.errors import ConfigError, UnknownName, shown

__all__ = [
    "CHOICES",
    "HELP",
    "MOST_IMAGES",
    "PRECISIONS",
    "RECIPES",
    "Precision",
    "Recipe",
    "Scenario",
]


class Precision(Record):
    """The bytes of a parameter, and the passes that the engine applies."""

    engine: str  # fp32 | amp | half
    param_bytes: int
    half: str = "bf16"  # the two-byte type, if there is one


PRECISIONS = {
    "fp32": Precision("fp32", 4),
    # products of fp32 tensors on the matrix units: torch.set_float32_matmul_precision("high")
    "tf32": Precision("fp32", 4),
    "amp-bf16": Precision("amp", 4),
    "amp-fp16": Precision("amp", 4, "fp16"),
    "bf16": Precision("half", 2),
    "fp16": Precision("half", 2, "fp16"),
}


class Recipe(Record):
    """A named accounting of model states, in bytes per parameter; 0: precision and optimizer
    decide.

    ``master`` is the copy of the weights that the optimizer updates, ``main_gradients`` the copy of
    the gradients that it reads, if the optimizer does not use the model's own.
    """

    precision: str
    optimizer: str
    weights: int
    master: int
    gradients: int
    main_gradients: int
    moments: int
    stages: int  # the ZeRO stages that the recipe has
    source: str


_MEGATRON = "Megatron Core user guide, distributed optimizer, bytes per parameter"
RECIPES = {
    "torch": Recipe("", "", 0, 0, 0, 0, 0, 3, "torch: one copy in the parameters' precision"),
    "megatron-fp16": Recipe(
        "fp16", "adamw", 2, 4, 2, 4, 8, 1, f"{_MEGATRON}: fp16 parameters, fp16 gradients, 20"
    ),
    "megatron-bf16": Recipe(
        "bf16", "adamw", 2, 4, 4, 0, 8, 1, f"{_MEGATRON}: bf16 parameters, fp32 gradients, 18"
    ),
    "megatron-fp32": Recipe(
        "fp32", "adamw", 4, 0, 4, 0, 8, 1, f"{_MEGATRON}: fp32 parameters, fp32 gradients, 16"
    ),
    "apex-o2": Recipe(
        "fp16", "adamw", 2, 4, 2, 4, 8, 0,
        "NVIDIA Apex, apex.amp opt_level O2: fp32 masters and their gradients, during the step",
    ),
    "deepspeed": Recipe(
        "fp16", "adamw", 2, 4, 2, 4, 8, 3,
        "DeepSpeed, estimate_zero2_model_states_mem_needs: 2 params_16bit + 18 (2 grads_16bit, "
        "4 grads_32bit, 4 params_32bit, 8 optimizer_states_32bit)",
    ),
    "zero": Recipe(
        "fp16", "adamw", 2, 4, 2, 0, 8, 3,
        "Rajbhandari et al. 2020 (ZeRO), arXiv 1910.02054, section 3.1: 2 + 2 + K with K = 12",
    ),
}  # fmt: skip

CHOICES = {
    "mode": ("infer", "train"),
    "precision": tuple(PRECISIONS),
    "attention": ("sdpa", "eager", "math", "flash", "efficient", "cudnn"),
    "platform": ("cuda", "cpu"),
    "optimizer": tuple(OPTIMIZERS),
    "recipe": tuple(RECIPES),
    "layout": ("nchw", "nhwc"),
    "buckets": ("copies", "views"),
    "zero_grad": ("none", "zeros"),
    "policy": ("none", "reduce-fp32", "reduce-half"),
    "ema_dtype": ("model", "fp32", "bf16", "fp16"),
    "ema_device": ("model", "cpu"),
    "gather": ("all", "all-grad", "local", "local-grad"),
}

# the most images of a batch
MOST_IMAGES = 10**9
_RANGES = {"ranks": (1, 10**6), "zero": (0, 3), "ema": (0, 100), "accumulate": (1, 10**6)}

# the meaning of each field of the scenario, for the help of the command line
HELP = {
    "batch": "images in a batch",
    "mode": "the pass of traffic and time; memory shows both",
    "precision": "type of weights and products; tf32 is float32 matmul precision high, amp-… "
    "torch's autocast, bf16 and fp16 cast everything",
    "attention": "attention kernel; sdpa: the one that torch chooses",
    "platform": "the kind of device that runs the model",
    "optimizer": "the optimizer, whose states are in memory",
    "checkpointing": "blocks that are recomputed: none, selective, block, every:K, first:K, last:K",
    "freeze": "parameters that do not train: none, all, backbone, first:K, all-but-last:K",
    "lora": "rank of the adapters; they train with the head alone; 0: none",
    "lora_layers": "the linear layers that have adapters",
    "recipe": "accounting of model states; fixes precision and optimizer",
    "layout": "memory layout of the images",
    "compile": "the time of kernels that torch.compile made",
    "software": "version of torch whose kernels are timed: 2.4, or an engine that runs the model "
    "instead: tensorrt, aitemplate, fastertransformer  [default: the newest measured torch]",
    "ranks": "data-parallel devices; each has a batch of its own, memory is that of one",
    "zero": "the parts that ranks divide: 1 optimizer states, 2 gradients too, 3 weights too; "
    "0: nothing",
    "policy": "mixed precision of fully_shard: shards in fp32, weights gathered in --precision "
    "bf16 or fp16, gradients summed in fp32 or in that precision",
    "buckets": "the tensors that DistributedDataParallel reduces: copies of the gradients, or "
    "buckets that the gradients are views of",
    "ema": "moving averages: as many copies of the model are kept",
    "ema_dtype": "the type of the averages; model: the type of the weights",
    "ema_device": "the place of the averages: beside the model, or in the memory of the CPU",
    "gather": "features of ranks that open_clip's ClipLoss compares: all with all, or the rank's "
    "own (local_loss) with all; -grad: gradients flow back to their ranks (gather_with_grad)",
    "optimizer_in_backward": "each parameter is updated as soon as its gradient exists, which is "
    "freed then: torch's recipe of a hook behind each gradient",
    "grad_scaler": "torch.amp.GradScaler multiplies a loss of fp16, and divides the gradients "
    "before the optimizer steps",
    "accumulate": "batches of a step; their gradients are added up before the optimizer steps",
    "zero_grad": "the gradients after zero_grad: none frees them until the next backward",
}


# flags with which no gradient may be freed before the backward pass is over
_NEED_GRADIENTS = {
    "accumulate": "gradients are added up before the optimizer steps",
    "zero_grad": "there are no gradients left to set to zero",
    "ranks": "gradients are summed over the ranks before the optimizer steps",
    "recipe": "its optimizer updates copies of the weights after the backward pass",
    "grad_scaler": "it looks for infinite numbers in all gradients before the optimizer steps",
}

_WORDS: dict[object, str] = {bool: "true or false", int: "an integer", str: "text"}


@immutable
class Scenario:
    """How a model runs; every field is a flag of the command line.

    >>> Scenario(batch=8, precision="amp-bf16").mode
    'infer'
    """

    batch: int = 1
    mode: str = "infer"
    precision: str = "fp32"
    attention: str = "sdpa"
    platform: str = "cuda"
    optimizer: str = "adamw"
    checkpointing: str = "none"  # none | selective | block | every:K | first:K | last:K
    freeze: str = "none"  # none | all | backbone | first:K | all-but-last:K
    lora: int = 0  # rank of the adapters; 0: none. Only the adapters and the head train
    lora_layers: str = "qkv,proj"
    recipe: str = "torch"
    layout: str = "nchw"
    compile: bool = False
    software: str = ""  # a version of torch, or an engine; "": the newest torch that was measured
    ranks: int = 1
    zero: int = 0  # stage of Rajbhandari et al. 2020, arXiv 1910.02054
    buckets: str = "copies"
    ema: int = 0
    accumulate: int = 1
    zero_grad: str = "none"
    # none | reduce-fp32 | reduce-half: fp32 shards beside weights in half precision
    policy: str = "none"
    # arguments of timm.utils.ModelEmaV3
    ema_dtype: str = "model"
    ema_device: str = "model"
    optimizer_in_backward: bool = False
    grad_scaler: bool = False
    gather: str = "all"  # arguments of open_clip's ClipLoss

    def __post_init__(self) -> None:
        for field in self.__dataclass_fields__.values():
            setting = getattr(self, field.name)
            if setting is field.default:
                continue
            setting = whole(value(field.name, as_python(setting)))
            object.__setattr__(self, field.name, setting)
            if type(setting) is not field.type:
                raise ConfigError(
                    f"{field.name} must be {_WORDS[field.type]}, got {shown(setting)}"
                )
        if not 1 <= self.batch <= MOST_IMAGES:
            raise ConfigError(
                f"batch must be between 1 and {MOST_IMAGES:,}, got {shown(self.batch)}"
            )
        for name, allowed in CHOICES.items():
            setting = getattr(self, name)
            if setting not in allowed:
                raise UnknownName(name, str(setting), allowed, f"allowed: {', '.join(allowed)}")
        checkpointed(self.checkpointing)
        frozen(self.freeze)
        torch_version(self.software)
        if self.lora < 0:
            raise ConfigError(f"lora must be a rank, or 0 for none, got {shown(self.lora)}")
        self._check_ranges()

    def _check_ranges(self) -> None:
        if self.precision == "tf32" and self.platform == "cpu":
            raise ConfigError(
                "precision tf32 needs a card's matrix units, and the platform is cpu: use fp32"
            )
        if self.ema_device == "cpu" == self.platform:
            raise ConfigError("ema_device cpu is beside the model on platform cpu: leave it out")
        for name, (least, most) in _RANGES.items():
            setting = getattr(self, name)
            if not least <= setting <= most:
                raise ConfigError(
                    f"{name} must be from {least:,} to {most:,}, got {shown(setting)}"
                )
        if self.zero and self.ranks == 1:
            raise ConfigError(
                f"zero {self.zero} divides states among ranks: give ranks above 1, got 1"
            )
        if self.policy != "none" and not (
            self.zero > 1 and self.recipe == "torch" and PRECISIONS[self.precision].engine == "half"
        ):
            raise ConfigError(
                f"policy {self.policy} is a setting of fully_shard: it needs zero 2 or 3, recipe "
                "torch, and precision bf16 or fp16, the type of gathered weights; got zero "
                f"{self.zero}, recipe {self.recipe}, precision {self.precision}"
            )
        if self.gather != "all" and self.ranks == 1:
            raise ConfigError(
                f"gather {self.gather} compares features of several ranks: give ranks above 1, "
                f"got 1"
            )
        if self.grad_scaler:
            self._check_scaled()
        if self.optimizer_in_backward:
            self._check_gradients_go()
        stages = RECIPES[self.recipe].stages
        if self.zero > stages:
            raise ConfigError(
                f"zero {self.zero} contradicts recipe {self.recipe}, which "
                + (f"has stages up to {stages}" if stages else "divides nothing")
            )

    def _check_scaled(self) -> None:
        """Refuses a scaler if the loss is not computed in fp16, or if torch does not unscale the
        gradients: "Attempting to unscale FP16 gradients" (torch/amp/grad_scaler.py)."""
        widened = self.policy != "none" or OPTIMIZERS[self.optimizer].step == "fused"
        halves = self.precision == "fp16" and widened and self.recipe == "torch"
        if self.precision != "amp-fp16" and not halves:
            raise ConfigError(
                "grad_scaler is for a loss in fp16 whose gradients are in fp32: it needs precision "
                "amp-fp16, or fp16 with a policy or a fused optimizer, and recipe torch; got "
                f"precision {self.precision}, recipe {self.recipe}"
            )

    def _check_gradients_go(self) -> None:
        """Refuses flags that need all gradients at the end of the backward pass."""
        for name, why in _NEED_GRADIENTS.items():
            value_of = getattr(self, name)
            if value_of != self.__dataclass_fields__[name].default:
                raise ConfigError(f"optimizer_in_backward contradicts {name} {value_of}: {why}")

    @classmethod
    def of(
        cls, *, precision: str | None = None, optimizer: str | None = None, **flags: Any
    ) -> "Scenario":
        """A scenario from flags. A recipe sets the flags that are not given, and refuses other
        values than its own."""
        precision, optimizer = (
            cast("str | None", value(name, setting))
            for name, setting in (("precision", precision), ("optimizer", optimizer))
        )
        name = flags.get("recipe")
        # a word that is not a recipe is refused below
        recipe = RECIPES.get(name if isinstance(name, str) else "", RECIPES["torch"])
        for flag, setting, fixed in (
            ("precision", precision, recipe.precision),
            ("optimizer", optimizer, recipe.optimizer),
        ):
            if isinstance(setting, str) and fixed and setting != fixed:
                raise ConfigError(
                    f"{flag} {setting} contradicts recipe {flags['recipe']}, which has {fixed}"
                )
        return cls(
            precision=(recipe.precision or "fp32") if precision is None else precision,
            optimizer=(recipe.optimizer or "adamw") if optimizer is None else optimizer,
            **flags,
        )

    def added_to(self, flags: Mapping[str, Any]) -> "Scenario":
        """The scenario for a module whose state fixes some flags: a flag at its default takes the
        module's value, and any other value is refused.

        >>> Scenario(batch=8).added_to({"checkpointing": "block"}).checkpointing
        'block'
        """
        defaults = {field.name: field.default for field in fields(self)}
        for flag, its in flags.items():
            setting = getattr(self, flag)
            if setting not in (its, defaults[flag]):
                raise ConfigError(
                    f"{flag} {setting} contradicts the module, whose own {flag} is {its}"
                )
        return replace(self, **flags) if flags else self

    @property
    def param_bytes(self) -> int:
        """Bytes per element of a parameter, and of a state of the optimizer."""
        return 4 if self.sharded_in_fp32 else PRECISIONS[self.precision].param_bytes

    @property
    def sharded_in_fp32(self) -> bool:
        """Whether a step computes with weights in another type than the one in which they are
        stored."""
        return self.policy != "none" and self.mode == "train"

    @property
    def views_gradients(self) -> bool:
        """Whether gradients are views of the buckets that data-parallel ranks reduce."""
        return self.ranks > 1 and self.zero < 2 and self.buckets == "views"

    @property
    def gradients_outlast(self) -> bool:
        """Whether a rank keeps gradients during the whole step: shards to which others are added,
        or the buffers of recipes that are not torch's own.

        >>> [Scenario(recipe=recipe).gradients_outlast for recipe in ("torch", "deepspeed")]
        [False, True]
        """
        return self.recipe != "torch" or (self.zero > 1 and self.keeps_gradients)

    @property
    def keeps_gradients(self) -> bool:
        """Whether the backward pass finds gradients to add to, or buckets to write into."""
        return self.views_gradients or self.accumulate > 1 or self.zero_grad == "zeros"

    @property
    def regions(self) -> tuple[str, int]:
        """The name of the engine's checkpointing pass, and its number of layers."""
        return checkpointed(self.checkpointing)

    @property
    def trains_nothing(self) -> bool:
        """Whether no parameter trains, so that there is no backward pass."""
        return self.freeze == "all" and not self.lora

    @property
    def counts_layers(self) -> bool:
        """Whether a flag counts layers (``every:2``), so that each depth is a structure of
        its own."""
        regions, layers = self.regions
        ends = ("first", "last")
        return layers > 1 or regions in ends or self.frozen[0] in ends

    @property
    def frozen(self) -> tuple[str, int]:
        """The name of the engine's pass that freezes parameters, and its number of layers."""
        return frozen(self.freeze)
