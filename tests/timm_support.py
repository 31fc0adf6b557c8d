"""timm and torchvision as witnesses, on machines where torchvision is installed without its ops."""

from types import ModuleType

import torch

# the operators that torchvision's Python code names when it is imported, and that its binary for
# another torch does not register; nothing here calls them
_OPS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_library: torch.library.Library | None = None


def timm() -> ModuleType:
    """The timm package."""
    _declare()
    import timm as package

    return package


def torchvision() -> ModuleType:
    """The torchvision package."""
    _declare()
    import torchvision as package

    return package


def transformers() -> ModuleType:
    """The transformers package, which imports torchvision where it is installed."""
    _declare()
    import transformers as package

    return package


def _declare() -> None:
    global _library
    if _library is None and not hasattr(torch.ops.torchvision, "nms"):
        _library = torch.library.Library("torchvision", "DEF")
        for schema in _OPS:
            _library.define(schema)
