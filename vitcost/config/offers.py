"""Flags and keywords of other tools, each with the flag of vitcost to use instead: one row for each
word.

The message spells our flag with the value that was given, since a value may have another meaning
here. A word in this table is always a mistake, so the table is imported only for a message.
"""

from collections.abc import Iterable, Mapping

from vitcost.config.records import Record
from vitcost.errors import UnknownName, shown

__all__ = ["FLAGS", "Word", "offer", "unknown_field"]


class Word(Record):
    """Our flags for another tool's word, each with its value, and a remark; ``{}`` is the given
    value.

    Without flags only the remark is printed.
    """

    ours: tuple[tuple[str, str], ...]
    note: str = ""


def _named(name: str, note: str = "") -> Word:
    return Word(((name, "{}"),), note)


def _fixed(name: str, value: str, note: str = "") -> Word:
    return Word(((name, value),), note)


_AUTOCAST = "amp-bf16 and amp-fp16 are torch's autocast, bf16 and fp16 cast everything"
_SHARED = "ranks are the devices that share a step; gpu names a card"
_STORED = Word(
    (), "`vitcost report` says what weights stored as int8, fp8 or int4 take; nothing runs in them"
)
_OFFLOAD = Word((), "nothing is offloaded: zero 1 to 3 divides states, gradients and weights")

FLAGS: Mapping[str, Word] = {
    "dtype": _named("precision", _AUTOCAST),
    "torch_dtype": _named("precision", _AUTOCAST),
    "fp16": _fixed("precision", "fp16", _AUTOCAST),
    "half": _fixed("precision", "fp16", _AUTOCAST),
    "bf16": _fixed("precision", "bf16", _AUTOCAST),
    "fp32": _fixed("precision", "fp32"),
    "tf32": _fixed("precision", "tf32"),
    "amp": _fixed("precision", "amp-bf16", "amp-fp16 is autocast in fp16"),
    "autocast": _fixed("precision", "amp-bf16", "amp-fp16 is autocast in fp16"),
    "mixed_precision": _fixed("precision", "amp-bf16", "amp-fp16 is autocast in fp16"),
    "device": _named("platform", "cuda or cpu; a card is named by gpu"),
    "hardware": _named("gpu"),
    "card": _named("gpu"),
    "gpus": _named("gpu", _SHARED),
    "vram": _named("gpu", "24GB stands for any card with so much memory"),
    "memory": _named("gpu", "24GB stands for any card with so much memory"),
    "gpu_memory": _named("gpu", "24GB stands for any card with so much memory"),
    "batch_size": _named("batch"),
    "bs": _named("batch"),
    "per_device_train_batch_size": _named("batch"),
    "train": _fixed("mode", "train"),
    "training": _fixed("mode", "train"),
    "infer": _fixed("mode", "infer"),
    "inference": _fixed("mode", "infer"),
    "eval": _fixed("mode", "infer"),
    "optim": _named("optimizer"),
    "opt": _named("optimizer"),
    "optimizer_in_bwd": _named("optimizer_in_backward"),
    "local_loss": _fixed("gather", "local", "open_clip's gather_with_grad is the end -grad"),
    "gather_with_grad": _fixed("gather", "local-grad", "all-grad without local_loss"),
    "loss_scale": Word((("grad_scaler", ""),)),
    "scaler": Word((("grad_scaler", ""),)),
    "model_ema": _fixed("ema", "1"),
    "model_ema_force_cpu": _fixed("ema_device", "cpu"),
    "gradient_checkpointing": _fixed("checkpointing", "block", "every:K shares a region"),
    "grad_checkpointing": _fixed("checkpointing", "block", "every:K shares a region"),
    "activation_checkpointing": _fixed("checkpointing", "block", "every:K shares a region"),
    "checkpoint": _fixed("checkpointing", "block", "every:K shares a region"),
    "recompute": _fixed("checkpointing", "block", "every:K shares a region"),
    "gradient_accumulation_steps": _named("accumulate"),
    "grad_accum": _named("accumulate"),
    "accumulate_grad_batches": _named("accumulate"),
    "world_size": _named("ranks", _SHARED),
    "num_gpus": _named("ranks", _SHARED),
    "n_gpus": _named("ranks", _SHARED),
    "nproc_per_node": _named("ranks", _SHARED),
    "devices": _named("ranks", _SHARED),
    "ddp": _fixed("ranks", "N", "zero 0 is DistributedDataParallel"),
    "fsdp": Word((("zero", "3"), ("ranks", "N")), "torch's fully_shard"),
    "fully_shard": Word((("zero", "3"), ("ranks", "N"))),
    "zero_stage": Word((("zero", "{}"), ("ranks", "N"))),
    "deepspeed": Word((("zero", "3"), ("ranks", "N")), "recipe deepspeed is its account of states"),
    "lora_rank": _named("lora"),
    "lora_r": _named("lora"),
    "target_modules": _named("lora_layers"),
    "flash": _fixed("attention", "flash"),
    "flash_attn": _fixed("attention", "flash"),
    "flash_attention": _fixed("attention", "flash"),
    "attn_implementation": _named("attention"),
    "torch_compile": Word((("compile", ""),)),
    "channels_last": _fixed("layout", "nhwc"),
    "image_size": _named("img_size"),
    "resolution": _named("img_size"),
    "input_resolution": _named("img_size"),
    "classes": _named("num_classes"),
    "nb_classes": _named("num_classes"),
    "num_labels": _named("num_classes"),
    "channels": _named("in_chans"),
    "num_channels": _named("in_chans"),
    "hidden_size": _named("embed_dim"),
    "hidden_dim": _named("embed_dim"),
    "dim": _named("embed_dim"),
    "width": _named("embed_dim"),
    "layers": _named("depth", "--levels folds the table of layers"),
    "num_layers": _named("depth"),
    "num_hidden_layers": _named("depth"),
    "heads": _named("num_heads"),
    "num_attention_heads": _named("num_heads"),
    "intermediate_size": _named("mlp_dim"),
    "sequence_length": _named("seq_len"),
    "seq_length": _named("seq_len"),
    "verbose": _fixed("levels", "2", "of the layers' table"),
    "quiet": Word((("brief", ""),)),
    "output_format": _named("format"),
    "quantize": _STORED,
    "quantization": _STORED,
    "int8": _STORED,
    "load_in_8bit": _STORED,
    "load_in_4bit": _STORED,
    "offload": _OFFLOAD,
    "cpu_offload": _OFFLOAD,
}


def offer(name: str, text: str = "", *, python: bool = False) -> str:
    """Our flag for another tool's flag or keyword; empty if no row has the word.

    >>> offer("batch_size", "8"), offer("batch_size", "8", python=True)
    ('--batch-size is --batch here: --batch 8', 'batch_size is batch here: batch=8')
    >>> offer("fsdp")
    "--fsdp is --zero 3 --ranks N here; torch's fully_shard"
    """
    key = name.removeprefix("--").replace("-", "_").lower()
    word = FLAGS.get(key)
    if word is None:
        return ""
    theirs = key if python else f"--{key.replace('_', '-')}"
    if not word.ours:
        return f"{theirs}: {word.note}"
    note = f"; {word.note}" if word.note else ""
    names = " and ".join(flag if python else _flag(flag) for flag, _ in word.ours)
    whole = (", " if python else " ").join(
        _spelled(flag, spelling.replace("{}", text), python) for flag, spelling in word.ours
    )
    if not any("{}" in spelling for _, spelling in word.ours):
        return f"{theirs} is {whole} here{note}"
    return f"{theirs} is {names} here{f': {whole}' if text else ''}{note}"


def _spelled(name: str, spelling: str, python: bool) -> str:
    if not python:
        return f"{_flag(name)} {spelling}".strip()
    if not spelling:
        return f"{name}=True"
    return f"{name}={spelling if spelling.isdecimal() or spelling == 'N' else repr(spelling)}"


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def unknown_field(name: str, known: Iterable[str], value: object = "") -> UnknownName:
    """The error for a keyword that no model has: with our own word for it, or with the nearest
    fields and flags.

    >>> str(unknown_field("depht", ["depth", "embed_dim"]))
    "unknown field 'depht'; did you mean depth?"
    """
    plain = isinstance(value, str | int | float) and not isinstance(value, bool)
    text = value if isinstance(value, str) else shown(value) if plain else ""
    ours = offer(name, text, python=True)
    if ours:
        return UnknownName("field", name, (), ours)
    flags = dict.fromkeys(flag for word in FLAGS.values() for flag, _ in word.ours)
    return UnknownName("field", name, [*known, *(flag for flag in flags if flag != name)])
