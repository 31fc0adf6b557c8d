"""Values of flags that contain a number: a version of torch, or a number of layers."""

from vitcost.errors import ConfigError, shown

__all__ = ["ENGINES", "checkpointed", "frozen", "torch_version"]

# engines that run a model instead of torch, with their own kernels and no Python between these
ENGINES = ("tensorrt", "aitemplate", "fastertransformer")


def torch_version(text: str) -> tuple[int, int] | None:
    """The version of torch, which decides the kernels that exist; None if none is given, and for an
    engine that runs a model instead of torch.

    >>> torch_version("2.4.0"), torch_version("2.10.1+cu130"), torch_version("")
    ((2, 4), (2, 10), None)
    """
    if text == "" or text in ENGINES:
        return None
    major, _, rest = str(text).partition(".")
    minor = rest.partition(".")[0]
    if not (major.isdecimal() and minor.isdecimal() and len(text) < 40):
        raise ConfigError(
            "software must be a version of torch, such as 2.9 or 2.4.0, or one of "
            f"{', '.join(ENGINES)}; got {text!r:.80}"
        )
    return int(major), int(minor)


def checkpointed(text: str) -> tuple[str, int]:
    """The engine's checkpointing pass and its number: how many layers share a region, or how many
    layers at one end are regions.

    >>> checkpointed("every:4"), checkpointed("first:6")
    (('layers', 4), ('first', 6))
    """
    if text in ("none", "selective"):
        return text, 1
    word, _, number = text.partition(":")
    counted = word in ("every", "first", "last")
    layers = 1 if text == "block" else _layers(number) if counted else 0
    if not layers:
        raise ConfigError(
            "checkpointing must be none, selective, block, every:K, first:K or last:K, "
            f"got {shown(text)}"
        )
    return word if word in ("first", "last") else "layers", layers


def frozen(text: str) -> tuple[str, int]:
    """The engine's pass that freezes parameters, and its number of layers.

    >>> frozen("all-but-last:2")
    ('last', 2)
    """
    if text in ("none", "backbone", "all"):
        return text.removeprefix("none"), 0
    word, _, number = text.partition(":")
    layers = _layers(number) if word in ("first", "all-but-last") else None
    if layers is None:
        raise ConfigError(
            f"freeze must be none, all, backbone, first:K or all-but-last:K, got {shown(text)}"
        )
    return word.removeprefix("all-but-"), layers


def _layers(text: str) -> int | None:
    """A number of layers; None if the text is no number, or the number is larger than any
    model's."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None
