"""When an accepted flag changes no number of an answer, and why: one row for each case.

``vitcost/flags.md`` is this table. A row without ``where`` has a condition that only the answer
shows; tests compare every row with answers.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from vitcost.config.flags import TAKES, mode_of
from vitcost.config.scenario import Scenario

__all__ = ["FIELDS", "IDLE", "SCENARIO", "Idle", "Where", "idle"]

Asked = Mapping[str, object]


class Where(NamedTuple):
    """A condition on one flag: it has one of ``values``; with ``others``, it has none of these;
    without values, it is not given."""

    flag: str
    values: tuple[object, ...] = ()
    others: bool = False

    def met(self, asked: Asked) -> bool:
        """Whether the flags of a question meet the condition."""
        value = asked.get(self.flag)
        return (value in self.values) != self.others if self.values else not value


class Idle(NamedTuple):
    """Flags that cannot matter in some commands under a condition, and the reason.

    ``where`` is set if a single flag decides the condition; the command line prints a note only
    then.
    """

    flags: tuple[str, ...]
    commands: tuple[str, ...]
    condition: str
    reason: str
    where: Where | None = None


_REPORTS = ("report", "compare", "budget", "diff")
_MEMORY = (*_REPORTS, "fit", "plan", "explain")
_MODELS = (*_MEMORY, "check", "summary")
_RATES = (
    "drop_rate", "pos_drop_rate", "proj_drop_rate", "act_drop_rate", "attn_drop_rate",
    "drop_path_rate", "init_values",
)  # fmt: skip

SCENARIO: tuple[Idle, ...] = (
    Idle(
        ("compile", "layout", "software"),
        _REPORTS,
        "no card is named",
        "the flag changes only a time; bytes are those of eager kernels, in either layout",
        Where("gpu"),
    ),
    Idle(
        ("lora_layers",),
        (*_MEMORY, "serve", "check"),
        "lora is 0",
        "there are no adapters",
        Where("lora", (0,)),
    ),
    Idle(
        ("ema_dtype", "ema_device"),
        _MEMORY,
        "ema is 0",
        "there are no averages",
        Where("ema", (0,)),
    ),
    Idle(
        ("ema_dtype",),
        _MEMORY,
        "ema_device is cpu",
        "the card has no bytes of averages",
        Where("ema_device", ("cpu",)),
    ),
    Idle(
        ("ema_dtype",),
        _MEMORY,
        "it is the type of the weights, and the update of averages is not the peak",
        "the averages have the same bytes",
    ),
    Idle(
        ("buckets",),
        (*_REPORTS, "fit"),
        "ranks is 1",
        "a single rank reduces no gradients",
        Where("ranks", (1,)),
    ),
    Idle(
        ("buckets",),
        (*_REPORTS, "fit"),
        "zero is 2 or 3",
        "fully_shard has no buckets: each rank keeps its shard of the summed gradients",
        Where("zero", (2, 3)),
    ),
    Idle(
        ("buckets",),
        (*_REPORTS, "fit", "plan"),
        "recipe is not torch",
        "the recipe's published account gives the bytes",
        Where("recipe", ("torch",), others=True),
    ),
    Idle(
        ("ranks",),
        ("fit",),
        "the mode is infer",
        "each rank runs its own batch, and divides no tensor",
        Where("mode", ("infer",)),
    ),
    Idle(
        ("mode",),
        _REPORTS,
        "no card is named, and a forward pass moves the same bytes in both modes",
        "the page shows the memory of both modes",
    ),
    Idle(
        ("batch",),
        ("fit",),
        "the verdict on the batch is the same",
        "the largest batch does not depend on the wanted one",
    ),
    Idle(
        ("attention",),
        (*_MEMORY, "serve"),
        "torch takes the same kernels without it",
        "sdpa would choose the same kernels",
    ),
    Idle(
        ("attention",),
        _MEMORY,
        "a module that is traced calls no scaled_dot_product_attention",
        "the module runs its own products",
    ),
    Idle(
        ("attention",),
        ("fit", "compare", "plan", "serve"),
        "the peak lies outside of attention",
        "no tensor of an attention kernel is alive at the peak",
    ),
    Idle(
        ("optimizer",),
        _MEMORY,
        "the optimizer keeps and allocates the bytes of the default one",
        "both go through the parameters in the same way, and differ only in arithmetic",
    ),
    Idle(
        ("optimizer",),
        _MEMORY,
        "the optimizer keeps the states of the default one, and the peak lies outside of its step",
        "the optimizers differ only in temporaries of their step",
    ),
    Idle(
        ("accumulate", "zero_grad"),
        _MEMORY,
        "the peak lies in the optimizer's step",
        "the gradients of all parameters exist then in any case",
    ),
    Idle(
        ("buckets",),
        _MEMORY,
        "the peak lies before the first gradient",
        "only the buckets exist by then, and they are equally large in both cases",
    ),
    Idle(
        ("optimizer_in_backward",),
        _MEMORY,
        "the peak lies before the first gradient",
        "no gradient exists yet that could be freed",
    ),
    Idle(
        ("gather",),
        ("fit",),
        "the peak lies outside of the loss",
        "the features of other ranks do not exist yet, or are freed",
    ),
    Idle(
        ("gather",),
        (*_REPORTS, "explain"),
        "it adds only gradients of other ranks, and the peak lies outside of the loss",
        "the products are the same, and no tensor of the loss is alive at the peak",
    ),
    Idle(
        ("accumulate", "zero_grad"),
        _MEMORY,
        "no exact peak is known",
        "the flag changes only the peak",
    ),
    Idle(
        ("ema", "ema_dtype", "ema_device", "ranks", "buckets"),
        ("compare",),
        "no exact peak is known",
        "the flag's bytes are only in train_memory",
    ),
    Idle(
        ("layout", "software"),
        (*_REPORTS, "plan", "serve"),
        "no measurement of the card is behind the time",
        "a data sheet and the mean of other cards know neither layout nor version of torch",
    ),
    Idle(
        ("layout", "software"),
        (*_REPORTS, "plan", "serve"),
        "launches of the host bound the step",
        "the card waits for them in any case",
    ),
    Idle(
        ("precision",),
        ("serve",),
        "auto is bf16 or fp16 on every card, and bf16 or fp16 is asked for",
        "both types have two bytes and the same peak",
    ),
    Idle(
        ("layout", "software"),
        ("fit",),
        "no way to run a batch that does not fit is timed",
        "bytes are the same in either layout, and in every version",
    ),
    Idle(
        ("layout",),
        ("calibrate",),
        "always",
        "the layout only labels the setup of the measured times",
    ),
)

FIELDS: tuple[Idle, ...] = (
    Idle(
        _RATES,
        _MODELS,
        "the layer is there before and after the change",
        "a rate above 0 adds a layer, and its amount is a factor in that layer",
    ),
    Idle(("qk_scale",), _MODELS, "always", "scores are multiplied by one number or another"),
    Idle(
        ("attn_drop_rate", "scale_query"),
        _MODELS,
        "attention is one fused kernel",
        "the kernel scales and drops the scores in its registers",
    ),
    Idle(
        ("attn_layer", "mlp_layer", "num_kv_heads", "qkv_fused", "attn_only_layer_scale"),
        _MODELS,
        "block_fn is a ParallelScalingBlock",
        "its one input and one output projection are attention and MLP",
    ),
    Idle(
        ("mlp_layer",),
        _MODELS,
        "SwiGLUPacked and GluMlp are exchanged, with act_layer silu",
        "timm's SwiGLUPacked is its GluMlp with that activation",
    ),
    Idle(
        ("act_layer",),
        _MODELS,
        "both activations are one op that saves its input, such as gelu and silu",
        "each reads and writes a tensor once, and saves its input",
    ),
    Idle(
        ("attn_layer",),
        _MODELS,
        "attn and rope are exchanged, and rope_type is none",
        "timm's AttentionRope without a rotary embedding is its Attention",
    ),
    Idle(
        ("attn_layer",),
        _MODELS,
        "eva is exchanged, and qkv_bias is off",
        "EvaAttention only lacks the key bias, which is not there anyway",
    ),
    Idle(
        ("rope_type",),
        _MODELS,
        "cat and dinov3 are exchanged",
        "their tables have one size",
    ),
    Idle(
        ("family",),
        _MODELS,
        "the two of open_clip.bidirectional are exchanged, or the two of transformers",
        "the family names the modules, and the buffers are the same",
    ),
    Idle(
        ("code",),
        _MODELS,
        "the peak of a step lies after its forward pass",
        "the tensors that a forward's names hold are freed by then",
    ),
    Idle(
        ("code",),
        _MODELS,
        "model_class is Beit, or the model has a backbone",
        "no other library has that forward",
    ),
    Idle(
        ("attn_only_layer_scale",),
        _MODELS,
        "init_values is none",
        "no layer scale exists to leave out",
    ),
    Idle(
        ("attn_pool_num_heads", "attn_pool_mlp_dim", "attn_pool_mlp_ratio"),
        _MODELS,
        "global_pool is not map",
        "there is no attention pool",
    ),
    Idle(
        ("dynamic_img_size", "interpolate_pos_encoding"),
        _MODELS,
        "the image has the size that the model is built for",
        "the position embedding is resampled only for images of another size",
    ),
    Idle(
        ("floor_img_size",),
        _MODELS,
        "the image is cut into whole patches",
        "there are no pixels to drop",
    ),
    Idle(
        ("fc_norm", "final_norm", "patch_bias"),
        _MODELS,
        "the rules of model_class give the same",
        "the rule gives the same value",
    ),
    Idle(
        ("no_embed_class",),
        _MODELS,
        "there is no class token, or no learned position",
        "no position is added to it",
    ),
    Idle(
        ("no_embed_reg",),
        _MODELS,
        "there are no registers, or none has a position",
        "no position is added to them",
    ),
    Idle(
        ("pool_include_prefix",),
        _MODELS,
        "global_pool reads one token, or there are no tokens but patches",
        "no average is taken, or only one over patches",
    ),
    Idle(
        ("representation_size",),
        _MODELS,
        "there is a distillation token",
        "timm's distilled model has its two heads on the tokens",
    ),
    Idle(
        ("swiglu_align_to",),
        _MODELS,
        "mlp_ratio is not given",
        "a given width is not rounded",
    ),
)
IDLE = (*SCENARIO, *FIELDS)


def idle(command: str, keywords: Asked, varied: tuple[str, ...] = ()) -> Iterator[str]:
    """The reasons why flags given to a command cannot matter, one sentence each.

    ``varied`` are fields with several values, on which a condition cannot be decided.

    >>> list(idle("report", {"lora_layers": "fc1"}))
    ['lora_layers changes nothing where lora is 0: there are no adapters']
    """
    plain = Scenario()
    asked = {**{name: getattr(plain, name) for name in plain.__dataclass_fields__}, **keywords}
    asked |= mode_of(command, keywords) if command in TAKES else {}
    for row in SCENARIO:
        where = row.where
        if where is None or command not in row.commands or where.flag in varied:
            continue
        for flag in row.flags:
            known = getattr(plain, flag, None)
            if flag in keywords and keywords[flag] != known and where.met(asked):
                yield f"{flag} changes nothing where {row.condition}: {row.reason}"
