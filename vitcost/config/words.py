"""Words of other tools that are accepted for ours: values of flags, and commands."""

from collections.abc import Mapping

__all__ = ["COMMANDS", "VALUES", "value"]

# values that mean one of ours, in upper or lower case
VALUES: Mapping[str, Mapping[str, str]] = {
    "precision": {
        "float32": "fp32", "float": "fp32", "single": "fp32", "32": "fp32", "32-true": "fp32",
        "float16": "fp16", "half": "fp16", "16-true": "fp16", "16-mixed": "amp-fp16",
        "bfloat16": "bf16", "bf16-true": "bf16", "bf16-mixed": "amp-bf16", "tensorfloat32": "tf32",
    },
    "mode": {"training": "train", "inference": "infer", "eval": "infer"},
    "platform": {"gpu": "cuda"},
    "attention": {
        "flash_attention": "flash", "flash_attention_2": "flash", "flash-attention": "flash",
        "mem_efficient": "efficient", "xformers": "efficient",
    },
    "optimizer": {
        "adamw_torch": "adamw", "adamw_torch_fused": "adamw-fused", "adam_w": "adamw",
        "adamw8bit": "adamw-8bit", "adamw_8bit": "adamw-8bit", "adamw_bnb_8bit": "adamw-8bit",
        "adam8bit": "adam-8bit", "lion8bit": "lion-8bit", "lion_8bit": "lion-8bit",
        "adamw_torch_8bit": "adamw-8bit-ao", "adamw_torch_4bit": "adamw-4bit-ao",
        "nesterov": "sgd-nesterov",
    },
    "checkpointing": {"full": "block", "blocks": "block"},
    "layout": {"channels_last": "nhwc", "channels-last": "nhwc", "contiguous": "nchw"},
}  # fmt: skip

# first words of command lines in other tools
COMMANDS: Mapping[str, str] = {
    "list": "models",
    "ls": "models",
    "cards": "gpus",
    "estimate": "report",
    "info": "report",
    "profile": "report",
    "stats": "report",
    "flops": "report",
    "params": "report",
    "memory": "report",
    "sweep": "compare",
    "train": "plan",
    "cost": "plan",
    "limits": "budget",
    "verify": "check",
    "formula": "explain",
}


def value(name: str, setting: object) -> object:
    """Our value of a flag, for a value that another tool, or another case, spells.

    >>> value("precision", "Float16"), value("precision", "fp8"), value("batch", 8)
    ('fp16', 'fp8', 8)
    """
    words = VALUES.get(name)
    if words is None or not isinstance(setting, str):
        return setting
    lower = setting.strip().lower()
    return words.get(lower, lower)
