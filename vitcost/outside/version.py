"""The version of the package, for modules that are imported before ``vitcost`` itself is
complete."""

__all__ = ["VERSION"]

VERSION = "0.1.0"
