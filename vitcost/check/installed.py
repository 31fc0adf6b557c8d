"""timm, also where torchvision is installed for another torch than the one that is there."""

from types import ModuleType

__all__ = ["timm"]

# the operators that torchvision's Python code names when it is imported, and that its binary for
# another torch does not register; nothing here calls them
_OPS = ("nms", "qnms")
_libraries: list[object] = []


def timm() -> ModuleType:
    """The timm package; raises ``ImportError`` where it is not installed."""
    import torch

    if not _libraries and not hasattr(torch.ops.torchvision, _OPS[0]):
        library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
        for name in _OPS:
            schema = f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            library.define(schema)  # type: ignore[no-untyped-call]
        # the operators live as long as the library does
        _libraries.append(library)
    import timm as package

    return package
