"""timm, torchvision and transformers as witnesses; ``start`` makes them import."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


def timm() -> ModuleType:
    """The timm package."""
    import timm as package

    return package


@contextmanager
def fused_attention(fused: bool) -> Iterator[None]:
    """What timm builds meanwhile has torch's attention kernels, or plain products."""
    layers = timm().layers
    layers.set_fused_attn(fused)
    try:
        yield
    finally:
        # as timm is imported; tests that share a process must not see it
        layers.set_fused_attn(True)


def torchvision() -> ModuleType:
    """The torchvision package."""
    import torchvision as package

    return package


def transformers() -> ModuleType:
    """The transformers package, which imports torchvision where it is installed."""
    import transformers as package

    return package
