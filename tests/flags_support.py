"""A walk over every flag: an answer with it and without it, and what of the two differs."""

from collections.abc import Callable, Container, Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

import vitcost
from vitcost.config.activations import ACTIVATIONS
from vitcost.config.fields import Field
from vitcost.config.idle import FIELDS, SCENARIO, Asked
from vitcost.config.scenario import OPTIMIZERS, PRECISIONS, Scenario
from vitcost.config.text_config import TEXT_FIELDS
from vitcost.config.vit_config import FIELDS as CONFIG_FIELDS
from vitcost.config.vit_config import RATIOS
from vitcost.engine.model import structure_of
from vitcost.errors import VitcostError

Answer = dict[str, Any]
Run = Callable[..., Answer]

# families that differ in what a flag touches: plain, layer scale, distilled, rotary, map pool,
# relative bias, text, two towers, a hybrid, registers
MODELS = (
    "vit_tiny_patch16_224",
    "vit_base_patch14_dinov2",
    "deit_tiny_distilled_patch16_224",
    "eva02_tiny_patch14_224",
    "vit_base_patch16_siglip_224",
    "beit_base_patch16_224",
    "gpt2",
    "clip_vit_base_patch32",
    "vit_small_r26_s32_224",
    "vit_so150m2_patch16_reg1_gap_256",
)

# values of each flag of a scenario beside its default
VALUES: Mapping[str, tuple[Any, ...]] = {
    "batch": (2, 64),
    "mode": ("train",),
    "precision": ("bf16", "amp-bf16", "amp-fp16", "fp16"),
    "attention": ("eager", "math", "efficient"),
    "platform": ("cpu",),
    "optimizer": ("sgd", "adamw-foreach", "adamw-loop", "adam", "lion"),
    "checkpointing": ("block", "selective", "every:2", "first:2", "last:2"),
    "freeze": ("backbone", "first:2", "all-but-last:1"),
    "lora": (4,),
    "lora_layers": ("fc1",),
    "recipe": ("zero",),
    "layout": ("nhwc",),
    "compile": (True,),
    "software": ("1.13", "2.4"),
    "ranks": (4,),
    "zero": (1, 2, 3),
    "buckets": ("views",),
    "ema": (1,),
    "accumulate": (4,),
    "zero_grad": ("zeros",),
    "policy": ("reduce-fp32", "reduce-half"),
    "ema_dtype": ("fp32", "bf16"),
    "ema_device": ("cpu",),
    "optimizer_in_backward": (True,),
    "grad_scaler": (True,),
    "gather": ("all-grad", "local", "local-grad"),
}
# what else a flag is given with, so that it can be
BESIDE: Mapping[str, Mapping[str, Any]] = {
    "zero": {"ranks": 4},
    "policy": {"ranks": 4, "zero": 3, "precision": "bf16"},
    "ema_dtype": {"ema": 1},
    "ema_device": {"ema": 1},
    "grad_scaler": {"precision": "amp-fp16"},
    "gather": {"ranks": 4},
}


# flags that few models have, each with one of these
OF: Mapping[str, str] = {"gather": "ViT-B-32"}


class Base(NamedTuple):
    """A question: a command, in an answer's JSON, and the keywords that all of its runs have."""

    command: str
    run: Run
    given: Mapping[str, Any]


def report(model: str, **given: Any) -> Answer:
    return vitcost.report(model, **given).to_dict()


def compare(model: str, **given: Any) -> Answer:
    return vitcost.compare(model, **given).to_dict()


def fit(model: str, **given: Any) -> Answer:
    return vitcost.fit(model, **given).to_dict()


def plan(model: str, **given: Any) -> Answer:
    return vitcost.plan(model, **given).to_dict()


def serve(model: str, **given: Any) -> Answer:
    return vitcost.serve(model, **given).to_dict()


CARD = {"gpu": "l4"}
LOAD = {**CARD, "rate": 500, "slo": 0.2}
RUN = {
    "samples": 10**6,
    "gpu": "a100-sxm-80gb",
    "node_size": 2,
    "global_batch": 8,
    "precision": "fp32",
}
BASES: Mapping[str, Base] = {
    "report": Base("report", report, {}),
    "report with a card": Base("report", report, CARD),
    "training of a card": Base("report", report, {**CARD, "mode": "train"}),
    "compare": Base("compare", compare, {}),
    "compare with a card": Base("compare", compare, CARD),
    "fit": Base("fit", fit, CARD),
    "fit of training": Base("fit", fit, {**CARD, "mode": "train"}),
    "plan": Base("plan", plan, RUN),
    "serve": Base("serve", serve, LOAD),
}


class Unchanged(NamedTuple):
    """A flag that was accepted, and changed no number of the answer."""

    base: str
    model: str
    flag: str
    value: Any
    asked: Asked  # the flags of the scenario, resolved
    before: Answer
    after: Answer

    @property
    def reasons(self) -> list[str]:
        """The conditions of the table that are met."""
        command = BASES[self.base].command
        return [
            row.condition
            for row in SCENARIO
            if self.flag in row.flags and command in row.commands and self._holds(row)
        ]

    def _holds(self, row: Any) -> bool:
        if row.where is not None:
            return bool(row.where.met(self.asked))
        return SHOWN[row.condition](self)


def numbers(answer: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every number of an answer, missing ones too; no text, and no echo of the question."""
    if isinstance(answer, Mapping):
        for key, value in answer.items():
            if path or key not in _ECHO:
                yield from numbers(value, f"{path}.{key}" if path else key)
    elif isinstance(answer, list | tuple):
        for i, value in enumerate(answer):
            yield from numbers(value, f"{path}.{i}")
    elif answer is None or isinstance(answer, int | float):
        yield path, answer


_ECHO = ("scenario", "model", "job", "reserve")


def walk(base: str, model: str, flag: str, run: Run | None = None) -> Iterator[Unchanged]:
    """The values of a flag that change nothing, where they are accepted."""
    _, own, given = BASES[base]
    beside = BESIDE.get(flag, {})
    try:
        plain = {**given, **beside}
        before = run(model, **plain) if run else _plain(own, model, tuple(plain.items()))
    except VitcostError:
        return
    run = run or own
    for value in VALUES[flag]:
        if given.get(flag) == value:
            continue
        keywords = {**given, **beside, flag: value}
        try:
            after = run(model, **keywords)
        except VitcostError:
            continue
        if list(numbers(before)) == list(numbers(after)):
            asked = {**_defaults(), **after.get("scenario", {}), **keywords}
            if BASES[base].command == "serve":
                # each card has its own
                asked |= {name: after["rows"][0][name] or 1 for name in ("batch", "precision")}
            yield Unchanged(base, model, flag, value, asked, before, after)


@cache
def _plain(run: Run, model: str, given: tuple[tuple[str, Any], ...]) -> Answer:
    """The answer that every flag of a question and a model is held against."""
    return run(model, **dict(given))


def _defaults() -> dict[str, Any]:
    plain = Scenario()
    return {name: getattr(plain, name) for name in plain.__slots__}


def _peaks(found: Unchanged) -> set[Any]:
    """Where two answers say that the most bytes are alive; None: no exact peak is known."""
    places: set[Any] = set()
    for answer in (found.before, found.after):
        if BASES[found.base].command in ("fit", "serve"):
            places |= {row["peak_at"] or None for row in answer["rows"]}
        else:
            # an answer that dropped a flag would say where the peak of the default is
            places |= _reported(found, answer)
    return places


def _reported(found: Unchanged, answer: Answer) -> set[Any]:
    """The places of a command whose answer has none: those of the report."""
    own = {name: found.asked[name] for name in Scenario.__slots__ if name in found.asked}
    if answer is found.before:
        own[found.flag] = _defaults()[found.flag]
    if BASES[found.base].command != "plan":
        return {vitcost.report(found.model, **own).training.peak_at}
    ways = [row for row in answer["rows"] if row["tensor"] * row["pipeline"] == 1]
    if found.flag == "buckets":
        # others have none
        ways = [row for row in ways if row["zero"] < 2 and row["data"] > 1]
    return {vitcost.report(found.model, **{**own, **_way(row)}).training.peak_at for row in ways}


def _way(row: Mapping[str, Any]) -> dict[str, Any]:
    """The flags of a step that a row of a plan is of."""
    return {
        "batch": row["micro_batch"],
        "ranks": row["data"],
        "zero": row["zero"],
        "checkpointing": row["checkpointing"],
        "accumulate": min(row["accumulation"], 2),
        "mode": "train",
    }


def _kernels(found: Unchanged) -> tuple[Any, Any]:
    """The attention kernels of a forward pass and a step, without the flag and with it."""
    names = [name for name in Scenario.__slots__ if name in found.asked]
    own = {name: found.asked[name] for name in names} | {"gpu": found.asked.get("gpu", ())}
    pairs = [
        [
            (infer.attention_kernel, [time.attention_kernel for time in infer.time])
            for infer in (
                vitcost.report(found.model, **{**own, "attention": attention, "mode": mode})
                for mode in ("infer", "train")
            )
        ]
        for attention in ("sdpa", found.value)
    ]
    return pairs[0], pairs[1]


def _states(found: Unchanged) -> tuple[bool, bool]:
    """Whether an optimizer has the states of the default one, and its walk."""
    other, plain = OPTIMIZERS[found.value], OPTIMIZERS[Scenario().optimizer]
    platform = str(found.asked["platform"])
    same = (other.moments, other.step_bytes) == (plain.moments, plain.step_bytes)
    return same, other.steps(platform) == plain.steps(platform)


def _bases(answer: Answer) -> set[Any]:
    """The basis of the times of an answer."""
    times = answer.get("time", answer.get("rows", []))
    own = {time.get("basis", time.get("step_time_basis")) for time in times}
    return {answer["basis"]} if "totals" in answer else own


def _bounds(found: Unchanged) -> set[str]:
    """The bounds of the times of an answer."""
    if BASES[found.base].command == "plan":
        words = {row["limit"] for row in found.after["rows"] if row["fits"]}
        return {"overhead" if word == "launches" else word for word in words}
    own = {name: found.asked[name] for name in (*Scenario.__slots__, "gpu") if name in found.asked}
    return {time.bound for time in vitcost.report(found.model, **own).time}


def _outside(found: Unchanged) -> bool:
    """Whether a pair of towers peaks in one of them."""
    return all(
        place == "optimizer step" or " of visual" in place or " of text" in place
        for place in _peaks(found)
    )


def _column(answer: Answer, name: str) -> list[Any]:
    return [row[name] for row in answer["rows"]]


SHOWN: Mapping[str, Callable[[Unchanged], bool]] = {
    "no card is named, and a forward pass moves the same bytes in both modes": lambda found: (
        not found.asked.get("gpu")
    ),
    "the verdict on the batch is the same": lambda found: (
        [row["fits"] for row in found.before["rows"]]
        == [row["fits"] for row in found.after["rows"]]
    ),
    "torch takes the same kernels without it": lambda found: (
        _kernels(found)[0] == _kernels(found)[1]
    ),
    "a module that is traced calls no scaled_dot_product_attention": lambda found: (
        not vitcost.report(found.model).attention_kernel
    ),
    "the peak lies outside of attention": lambda found: (
        not any(".attn" in place for place in _peaks(found) if place)
    ),
    "the optimizer keeps and allocates the bytes of the default one": lambda found: (
        _states(found) == (True, True)
    ),
    "the optimizer keeps the states of the default one, and the peak lies outside of its step": (
        lambda found: _states(found)[0] and "optimizer step" not in _peaks(found)
    ),
    "the peak lies in the optimizer's step": lambda found: _peaks(found) == {"optimizer step"},
    "it is the type of the weights, and the update of averages is not the peak": lambda found: (
        PRECISIONS[found.value].param_bytes == PRECISIONS[str(found.asked["precision"])].param_bytes
    ),
    "the peak lies before the first gradient": lambda found: all(
        place == "backward of loss" or place.startswith("forward") for place in _peaks(found)
    ),
    "the peak lies outside of the loss": lambda found: _outside(found),
    "it adds only gradients of other ranks, and the peak lies outside of the loss": (
        lambda found: found.value == "all-grad" and _outside(found)
    ),
    "no exact peak is known": lambda found: _peaks(found) == {None},
    "no measurement of the card is behind the time": lambda found: (
        _bases(found.after) <= {"spec_sheet", "of_its_kind"}
    ),
    "launches of the host bound the step": lambda found: _bounds(found) == {"overhead"},
    "auto is bf16 or fp16 on every card, and bf16 or fp16 is asked for": lambda found: (
        {*_column(found.before, "precision"), *_column(found.after, "precision")}
        <= {"bf16", "fp16"}
    ),
    "no way to run a batch that does not fit is timed": lambda found: (
        not any(row["ways"] for row in found.after["rows"])
    ),
}


# --- fields of the model


class UnchangedField(NamedTuple):
    """A field of a config that was accepted, and changed no number of a report."""

    model: str
    field: str
    value: Any
    before: Any  # the config
    after: Any

    @property
    def reasons(self) -> list[str]:
        """The conditions of the table that are met."""
        rows = [row for row in FIELDS if self.field in row.flags]
        return [row.condition for row in rows if FIELD_SHOWN[row.condition](self)]


def alternatives(config: Any, name: str, kind: Any, declared: Any) -> list[Any]:
    """Some values that a field may have beside its own."""
    now = getattr(config, name, getattr(getattr(config, "text", None), name, None))
    if declared.choices:
        found: list[Any] = list(declared.choices)
    elif kind in (bool, bool | None):
        found = [True, False]
    elif kind in (float, float | None):
        found = [0.1, 0.5]
    elif isinstance(now, tuple):
        found = [(2 * now[0], now[1])]
    elif isinstance(now, int) and now:
        found = [2 * now, now + 1, now // 2]
    else:
        found = [2, 4, 64]
    return [value for value in found if value != now]


def fields_of(config: Any) -> Iterator[tuple[str, Any, Any]]:
    """Every field of a config that a user can give, its type and what is declared of it."""
    if not isinstance(config, vitcost.ViTConfig):
        yield from ((name, *declared) for name, declared in TEXT_FIELDS.items())
        return
    yield from ((name, *declared) for name, declared in CONFIG_FIELDS.items())
    yield from ((name, float, Field("a ratio")) for name in RATIOS)


def walk_fields(model: str, only: Container[str] | None = None) -> Iterator[UnchangedField]:
    """The values of all fields of a model that change nothing, where they are accepted."""
    plain = vitcost.report(model)
    before, own = plain.model.config, list(numbers(plain.to_dict()))
    for name, kind, declared in fields_of(before):
        if only is not None and name not in only:
            continue
        for value in alternatives(before, name, kind, declared):
            try:
                found = vitcost.report(model, **{name: value})
            except VitcostError:
                continue
            if list(numbers(found.to_dict())) == own:
                yield UnchangedField(model, name, value, before, found.model.config)


def _fused(config: Any) -> bool:
    # the field of a pair is that of its image tower
    config = getattr(config, "vision", config)
    kernels = {
        kernel
        for mode in ("infer", "train")
        for kernel in vitcost.report(config, mode=mode).attention_kernel
    }
    return kernels <= {"flash", "efficient", "cudnn"}


def _prefix(config: Any) -> int:
    return int(config.class_token) + int(config.dist_token) + int(config.reg_tokens)


FIELD_SHOWN: Mapping[str, Callable[[UnchangedField], bool]] = {
    "the layer is there before and after the change": lambda found: (
        bool(getattr(found.before, found.field)) and bool(found.value)
    ),
    "always": lambda found: True,
    "attention is one fused kernel": lambda found: _fused(found.before) and _fused(found.after),
    "block_fn is a ParallelScalingBlock": lambda found: (
        found.before.block_fn == "ParallelScalingBlock"
    ),
    "SwiGLUPacked and GluMlp are exchanged, with act_layer silu": lambda found: (
        {found.before.mlp_layer, found.value} == {"SwiGLUPacked", "GluMlp"}
        and found.before.act_layer == "silu"
    ),
    "both activations are one op that saves its input, such as gelu and silu": lambda found: (
        ACTIVATIONS[found.before.act_layer].saves == ACTIVATIONS[found.value].saves == "x"
    ),
    "attn and rope are exchanged, and rope_type is none": lambda found: (
        {found.before.attn_layer, found.value} == {"attn", "rope"}
        and found.before.rope_type == "none"
    ),
    "eva is exchanged, and qkv_bias is off": lambda found: (
        found.value == "eva" and not found.before.qkv_bias
    ),
    "the two of open_clip.bidirectional are exchanged, or the two of transformers": lambda found: (
        {found.before.family, found.value}
        in (
            {"open_clip.bidirectional", "open_clip.bidirectional.argmax"},
            {"transformers.clip", "transformers.siglip"},
        )
    ),
    "cat and dinov3 are exchanged": lambda found: (
        {found.before.rope_type, found.value} == {"cat", "dinov3"}
    ),
    "init_values is none": lambda found: found.before.init_values is None,
    "global_pool is not map": lambda found: found.before.global_pool != "map",
    "the image has the size that the model is built for": lambda found: (
        (found.after.input_size or found.after.img_size) == found.after.img_size
    ),
    "the image is cut into whole patches": lambda found: all(
        image % patch == 0
        for image, patch in zip(found.before.img_size, found.before.patch_size, strict=True)
    ),
    "the rules of model_class give the same": lambda found: (
        getattr(structure_of(found.before, 1), found.field)
        == getattr(structure_of(found.after, 1), found.field)
    ),
    "there is no class token, or no learned position": lambda found: (
        not found.before.class_token or found.before.pos_embed == "none"
    ),
    "there are no registers, or none has a position": lambda found: (
        not found.before.reg_tokens or found.before.no_embed_class
    ),
    "global_pool reads one token, or there are no tokens but patches": lambda found: (
        found.before.global_pool in ("token", "map") or not _prefix(found.before)
    ),
    "the peak of a step lies after its forward pass": lambda found: (
        not str(vitcost.report(found.after).training.peak_at).startswith("forward")
    ),
    "model_class is Beit, or the model has a backbone": lambda found: (
        found.before.model_class == "Beit" or found.before.backbone
    ),
    "there is a distillation token": lambda found: found.before.dist_token,
    "mlp_ratio is not given": lambda found: True,
}


# --- flags that a command has of its own


class Own(NamedTuple):
    """A flag of one command, and the rest of a command line on which it changes a number."""

    command: str
    flag: str
    value: str
    beside: str


T, B = "vit_tiny_patch16_224", "vit_base_patch16_224"
_RUN = f"{B} --samples 1M -g a100-sxm-80gb --global-batch 64 --precision amp-bf16"
_SERVED = f"{B} --rate 5000/s --slo 50ms"
_LARGE = "vit_huge_patch14_224 --samples 1M -g l4 --gpus 4 --global-batch 64"
# flag, value, file and what else is said of the rows
_MEASURED = (
    ("gpu", "a10", "{csv}", "-g l4 --precision amp-bf16"),
    ("gpu_file", "{cards}", "{csv}", "-g mine --precision amp-bf16"),
    ("mode", "train", "{csv}", "-g l4 --precision amp-bf16"),
    ("precision", "bf16", "{csv}", "-g l4 --precision amp-bf16"),
    ("compile", "", "{csv}", "-g l4 --precision amp-bf16"),
    ("layout", "nhwc", "{csv}", "-g l4 --precision amp-bf16"),
    ("optimizer", "sgd", "{csv}", "-g l4 --precision amp-bf16 --mode train"),
    ("software", "1.13", "{csv}", "-g l4 --precision amp-bf16"),
)
# where a model of two towers is answered whole too
_TWO = "clip_vit_base_patch32"
_TOWERS = (
    ("report", _TWO),
    ("compare", _TWO),
    ("fit", f"{_TWO} -g l4"),
    ("explain", f"{_TWO} flops"),
)
OWN: tuple[Own, ...] = (
    *(Own(command, "tower", "vision", words) for command, words in _TOWERS),
    Own("report", "gpu", "l4", T),
    Own("report", "gpu_file", "{cards}", f"{T} -g mine"),
    Own("report", "calibration", "{constants}", f"{T} -b 256 --precision amp-bf16 -g l4"),
    Own("report", "anchor", f"{T}=900", f"{T} -g l4"),
    Own("compare", "gpu", "l4", T),
    Own("compare", "gpu_file", "{cards}", f"{T} -b 256 -g mine"),
    Own("compare", "calibration", "{constants}", f"{T} -b 256 --precision amp-bf16 -g l4"),
    Own("compare", "anchor", f"{T}=900", f"{T} -g l4"),
    Own("compare", "why", "", f"{T} {B}"),
    Own("compare", "vary", "depth=2,3", T),
    Own("compare", "sample", "3", f"{T} --vary batch=1:99:+1"),
    Own("compare", "seed", "7", f"{T} --vary batch=1:9999:+1 --sample 5"),
    Own("compare", "pareto", "params,flops", f"{T} {B}"),
    Own("compare", "quantities", "macs", T),
    Own("compare", "price", "2.5", f"{T} -g l4"),
    Own("compare", "samples", "1.28M", f"{T} -g l4"),
    Own("compare", "epochs", "3", f"{T} -g l4 --samples 1M"),
    Own("fit", "gpu", "t4", f"{T} -g l4"),
    Own("fit", "gpu_file", "{cards}", f"{T} -g mine"),
    Own("fit", "require", "9999999", f"{T} -g l4"),
    Own("fit", "reserve", "20 %", f"{T} -g l4"),
    Own("fit", "largest", "depth", f"{T} -g l4"),
    Own("plan", "gpu", "h100-sxm", _RUN),
    Own("plan", "gpu_file", "{cards}", _RUN.replace("a100-sxm-80gb", "mine")),
    Own("plan", "calibration", "{constants}", _RUN.replace("a100-sxm-80gb", "l4")),
    Own("plan", "anchor", f"{B}=900", f"{_RUN} --micro-batch 8"),
    Own("plan", "samples", "2M", _RUN),
    Own("plan", "epochs", "2", _RUN),
    Own("plan", "global_batch", "128", _RUN),
    Own("plan", "gpus", "4", _RUN),
    Own("plan", "cards", "4", _RUN),
    Own("plan", "node_size", "4", _RUN),
    Own("plan", "kwh_price", "0.2", _RUN),
    Own("plan", "pue", "1.2", _RUN),
    Own("plan", "co2", "0.4", _RUN),
    Own("plan", "precision", "fp16", _RUN.partition(" --precision")[0]),
    Own("plan", "nodes", "2", f"{_RUN} --network '50 GB/s'"),
    Own("plan", "network", "10 GB/s", f"{_RUN} --nodes 2 --network '50 GB/s'"),
    Own("plan", "price", "2.5", _RUN),
    Own("plan", "deadline", "2h", _RUN),
    Own("plan", "efficiency", "0.4", _RUN),
    Own("plan", "overlap", "0", f"{_RUN} --zero 3"),
    Own("plan", "reserve", "20 %", _RUN),
    Own("plan", "zero", "1", _RUN),
    Own("plan", "tensor_parallel", "2", _RUN),
    Own("plan", "sequence_parallel", "", f"{_RUN} --tensor-parallel 2"),
    Own("plan", "pipeline_parallel", "2", _RUN),
    Own("plan", "checkpointing", "block", _RUN),
    Own("plan", "micro_batch", "2", _RUN),
    *(
        Own("serve", flag, value, beside)
        for flag, value, beside in (
            ("gpu", "t4", f"{_SERVED} -g l4"),
            ("gpu_file", "{cards}", f"{_SERVED} -g mine"),
            ("calibration", "{constants}", f"{_SERVED} -g l4 --precision amp-bf16"),
            ("anchor", f"{B}=900", f"{_SERVED} -g l4 -b 8"),
            ("rate", "999/s", f"{_SERVED} -g l4"),
            ("slo", "21ms", f"{_SERVED} -g l4"),
            ("percentile", "90", f"{_SERVED} -g l4"),
            ("utilization", "30%", f"{_SERVED} -g l4"),
            ("price", "2.5/h", f"{_SERVED} -g l4"),
            ("batch", "2", f"{_SERVED} -g l4"),
            ("precision", "fp32", f"{_SERVED} -g l4"),
            ("reserve", "20 %", f"{_SERVED} -g l4"),
            ("tower", "vision", f"{_TWO} --rate 500/s -g l4"),
        )
    ),
    Own("gpus", "gpu_file", "{cards}", ""),
    Own("budget", "config", "{other}", "--config {budget}"),
    Own("budget", "baseline", "{baseline}", "--config {budget}"),
    Own("diff", "gpu", "l4", f"{{saved}} {T}"),
    Own("diff", "gpu_file", "{cards}", f"{{saved}} {T} -b 256 -g mine"),
    Own("diff", "calibration", "{constants}", f"{{saved}} {T} -b 256 --precision amp-bf16 -g l4"),
    Own("diff", "anchor", f"{T}=900", f"{{saved}} {T} -g l4"),
    Own("budget", "update", "", "--config {budget}"),
    *(
        Own(command, flag, value, f"{words}{files} {beside}")
        for command, words in (("calibrate", ""), ("check", "--throughput "))
        for flag, value, files, beside in _MEASURED
    ),
    Own("check", "held_out", "", "--throughput {csv} -g l4 --precision amp-bf16"),
    Own("check", "calibration", "{constants}", "--throughput {csv} -g l4 --precision amp-bf16"),
)
# flags whose effect is no number: the form of an answer, and where it goes
FORM = {
    "model_option", "format", "as_json", "output", "quiet", "latex", "plot",
    "brief", "columns", "levels", "also", "exit_zero", "x", "y", "size", "color", "lang",
}  # fmt: skip
# flags that ask another question: each has tests of its own
FORMS = {
    "report": {"check"},
    "trace": {"file", "tower"},
    "check": {"walk", "memory", "throughput", "tower"},
    "budget": {"why"},
    "compare": {"all_timm"},
    "diff": {"quantities", "config"},
    # a model of two towers is refused whole there, and answered by tower
    "plan": {"tower", "all"},
    "summary": {"tower"},
    "web": {"pyodide", "opened"},
}
