"""Data classes that are made without compiling code.

``dataclass`` and ``NamedTuple`` generate and compile the source of methods for each class, which
takes most of the time of a class at start. Here the methods are written once for all classes.
"""

import sys
from collections import namedtuple
from dataclasses import MISSING, FrozenInstanceError, dataclass, fields
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, cast, dataclass_transform

__all__ = ["Record", "immutable"]

if TYPE_CHECKING:
    from inspect import Signature

T = TypeVar("T")


@dataclass_transform(frozen_default=True, kw_only_default=True)
def immutable(cls: type[T]) -> type[T]:
    """A frozen dataclass with slots, whose fields are given by name.

    >>> @immutable
    ... class Image:
    ...     height: int
    ...     width: int = 224
    >>> square = Image(height=224)
    >>> square, square == Image(height=224), {square: 1}[square]
    (Image(height=224, width=224), True, 1)
    >>> square.height = 256
    Traceback (most recent call last):
    dataclasses.FrozenInstanceError: cannot assign to field 'height'
    """
    for method in (_init, _eq, _hash, _repr, _setattr, _delattr, _setstate):
        name = f"_{method.__name__}__"
        # a base class may have a repr of its own
        if name != "__repr__" or cls.__repr__ is object.__repr__:
            setattr(cls, name, method)
    record: Any = dataclass(init=False, repr=False, eq=False, slots=True, kw_only=True)(cls)
    record._fields = [field.name for field in fields(record)]
    record._defaults = {name: field.default for name, field in record.__dataclass_fields__.items()}
    record.__signature__ = _Signature()
    # with a single name attrgetter would not return a tuple
    record._values = attrgetter(*record._fields, "__class__")
    return cast("type[T]", record)


class _Signature:
    """The signature of a class, made only when it is read."""

    def __get__(self, instance: object, cls: Any) -> "Signature":
        from inspect import Parameter, Signature

        kind, none = Parameter.KEYWORD_ONLY, Parameter.empty
        fields_of = cls.__dataclass_fields__.values()
        defaults = [none if f.default is MISSING else f.default for f in fields_of]
        return Signature(
            [
                Parameter(f.name, kind, default=default, annotation=f.type)
                for f, default in zip(fields_of, defaults, strict=True)
            ]
        )


def _init(self: Any, /, **given: Any) -> None:
    values = {**self._defaults, **given}
    if len(values) > len(self._defaults):
        unknown = next(name for name in given if name not in self._defaults)
        raise TypeError(f"{type(self).__name__}() has no field {unknown!r}")
    for name in self._fields:
        value = values.pop(name)
        if value is MISSING:
            raise TypeError(f"{type(self).__name__}() misses its field {name!r}")
        object.__setattr__(self, name, value)
    # the values left over are for the class's own __post_init__
    if hasattr(self, "__post_init__"):
        self.__post_init__(**values)


def _eq(self: Any, other: Any) -> bool:
    same: bool = type(other) is type(self) and self._values(self) == self._values(other)
    return same


def _hash(self: Any) -> int:
    return hash(self._values(self))


def _repr(self: Any) -> str:
    pairs = (f"{name}={getattr(self, name)!r}" for name in self._fields)
    return f"{type(self).__name__}({', '.join(pairs)})"


def _setattr(self: object, name: str, value: object) -> NoReturn:
    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _delattr(self: object, name: str) -> NoReturn:
    raise FrozenInstanceError(f"cannot delete field {name!r}")


def _setstate(self: object, state: tuple[None, dict[str, object]]) -> None:
    for name, value in state[1].items():
        object.__setattr__(self, name, value)


if TYPE_CHECKING:
    from typing import NamedTuple as Record
else:
    # the type of a named tuple's attributes, which reads a field as fast as a slot
    _Getter = type(namedtuple("One", "field").field)

    _new = tuple.__new__

    def _annotated(body):
        """The annotated names in the body of a class; in Python 3.14 the annotations are a
        function."""
        if "__annotations__" in body or sys.version_info < (3, 14):
            return tuple(body.get("__annotations__", ()))
        from annotationlib import Format, call_annotate_function, get_annotate_from_class_namespace

        annotate = get_annotate_from_class_namespace(body)
        return tuple(call_annotate_function(annotate, Format.FORWARDREF) if annotate else ())

    class _Rows(type):
        """The metaclass that makes a class of records from its annotations."""

        def __new__(mcs, name, bases, body):
            if not getattr(bases[0], "_fields", ()):
                names = _annotated(body)
                body["_field_defaults"] = {field: body[field] for field in names if field in body}
                body |= {field: _Getter(i, "") for i, field in enumerate(names)}
                body |= {"__match_args__": names, "_fields": names, "__slots__": ()}
            return super().__new__(mcs, name, bases, body)

    class Record(tuple, metaclass=_Rows):
        """Behaves like a ``NamedTuple`` in every way. Making a class takes a fifth of the time,
        making a tuple twice the time, so tuples that a report makes by the hundred are real
        ``NamedTuple`` s.

        >>> class Size(Record):
        ...     height: int
        ...     width: int = 224
        >>> Size(224), Size(width=1, height=2).width, Size(224)._replace(height=256)
        (Size(height=224, width=224), 1, Size(height=256, width=224))
        """

        def __new__(cls, *values, **named):
            if named or len(values) != len(cls._fields):
                values += _left(cls, cls._fields[len(values) :], named)
            return _new(cls, values)

        @classmethod
        def _make(cls, values):
            return cls(*values)

        def _replace(self, /, **changes):
            values = [*self]
            for name, value in changes.items():
                values[self._fields.index(name)] = value
            return _new(type(self), values)

        def _asdict(self):
            return dict(zip(self._fields, self, strict=True))

        def __getnewargs__(self):
            return tuple(self)

        __repr__ = _repr

    def _left(cls, names, named):
        """The values of a record's fields that were not given by position."""
        if not names or (named and not named.keys() <= {*names}):
            raise TypeError(f"{cls.__name__}() has no such fields, or has them twice: {[*named]}")
        named = cls._field_defaults | named
        missing = [name for name in names if name not in named]
        if missing:
            raise TypeError(f"{cls.__name__}() misses {', '.join(map(repr, missing))}")
        return tuple([named[name] for name in names])
