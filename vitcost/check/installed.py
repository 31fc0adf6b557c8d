"""timm, if it is installed and can be imported."""

from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from vitcost.errors import NotCovered

__all__ = ["timm", "timm_missing"]


@cache
def timm_missing() -> str:
    """The reason why timm is missing, with a remedy; empty if timm can be imported. Its import
    fails if torchvision was built for another torch."""
    if find_spec("timm") is None:
        return "timm is not installed: pip install timm"
    try:
        import_module("timm")
    except Exception as error:
        # importing another package may raise any error
        reason = (str(error) or repr(error)).splitlines()[0]
        return f"timm does not import ({reason}): python -c 'import timm' says more"
    return ""


def timm() -> ModuleType:
    """The timm package. Raises ``NotCovered`` if there is none."""
    missing = timm_missing()
    if missing:
        raise NotCovered(missing)
    import timm as package

    return package
