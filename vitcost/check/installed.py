"""timm, where it is installed and imports."""

from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from vitcost.errors import NotCovered

__all__ = ["timm", "timm_missing"]


@cache
def timm_missing() -> str:
    """The reason why timm is missing, with a remedy; empty where timm imports. A torchvision built
    for another torch makes its import fail.
    """
    if find_spec("timm") is None:
        return "timm is not installed: pip install timm"
    try:
        import_module("timm")
    except Exception as error:
        # another package may do anything when it is imported
        reason = (str(error) or repr(error)).splitlines()[0]
        return f"timm does not import ({reason}): python -c 'import timm' says more"
    return ""


def timm() -> ModuleType:
    """The timm package; raises ``NotCovered`` where there is none."""
    missing = timm_missing()
    if missing:
        raise NotCovered(missing)
    import timm as package

    return package
