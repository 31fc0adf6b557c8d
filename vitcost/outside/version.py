"""The version of the package, for those that ``vitcost`` itself is made of."""

__all__ = ["VERSION"]

VERSION = "0.1.0"
