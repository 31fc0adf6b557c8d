"""timm, torchvision and transformers as witnesses; ``start`` makes them import."""

from types import ModuleType


def timm() -> ModuleType:
    """The timm package."""
    import timm as package

    return package


def torchvision() -> ModuleType:
    """The torchvision package."""
    import torchvision as package

    return package


def transformers() -> ModuleType:
    """The transformers package, which imports torchvision where it is installed."""
    import transformers as package

    return package
