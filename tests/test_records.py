"""Records and immutable classes are the standard library's named tuples and dataclasses."""

import copy
import pickle
from dataclasses import FrozenInstanceError, InitVar, asdict, dataclass, fields, replace
from inspect import signature
from typing import Any, NamedTuple

import pytest

from vitcost.config.records import Record, immutable
from vitcost.engine.ops import Op, Tensor


class Ours(Record):
    """A row."""

    name: str
    sizes: tuple[int, ...]
    parent: "Ours | None" = None
    last: bool = False

    @property
    def total(self) -> int:
        return sum(self.sizes)


class Theirs(NamedTuple):
    """The same row."""

    name: str
    sizes: tuple[int, ...]
    parent: "Theirs | None" = None
    last: bool = False


ARGUMENTS: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    (("a", (1, 2)), {}),
    (("a", (1, 2), None, True), {}),
    (("a",), {"sizes": (1, 2)}),
    ((), {"last": True, "name": "a", "sizes": ()}),
]


@pytest.mark.parametrize(("args", "named"), ARGUMENTS)
def test_a_record_is_a_named_tuple(args: tuple[Any, ...], named: dict[str, Any]) -> None:
    ours, theirs = Ours(*args, **named), Theirs(*args, **named)
    assert ours == theirs
    assert hash(ours) == hash(theirs)
    assert repr(ours) == repr(theirs).replace("Theirs", "Ours")
    assert ours._asdict() == theirs._asdict()
    assert ours._replace(last=True, name="b") == theirs._replace(last=True, name="b")
    assert (ours.name, ours.sizes, ours.parent, ours.last) == tuple(theirs)
    for copied in (copy.copy(ours), copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert copied == ours
        assert type(copied) is Ours


def test_a_class_of_records_is_one_of_named_tuples() -> None:
    assert (Ours._fields, Ours._field_defaults) == (Theirs._fields, Theirs._field_defaults)
    assert Ours.__match_args__ == Theirs.__match_args__
    assert Ours.__annotations__.keys() == Theirs.__annotations__.keys()
    assert Ours._make(("a", (3, 4), None, False)).total == 7
    with pytest.raises(AttributeError):
        Ours("a", ()).name = "b"  # type: ignore[misc]
    with pytest.raises(ValueError, match="not in tuple"):
        Ours("a", ())._replace(nobody=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="misses 'sizes'"):
        Ours("a")  # type: ignore[call-arg]
    for args, named in (
        (("a", (), None, True, 5), {}),
        (("a", ()), {"name": "b"}),
        (("a", ()), {"nobody": 1}),
    ):
        for kind in (Ours, Theirs):
            with pytest.raises(TypeError):
                kind(*args, **named)  # type: ignore[arg-type]


def test_an_op_is_replaced_as_by_the_standard_library() -> None:
    x = Tensor("x", ("b", "h"))
    op = Op("gelu", (x,), x)
    changed = op._replace(kind="relu", needs=(True,))
    assert changed == Op(**{**op._asdict(), "kind": "relu", "needs": (True,)})
    assert type(changed) is Op
    with pytest.raises(KeyError, match="nobody"):
        op._replace(nobody=1)  # type: ignore[call-arg]


@immutable
class Image:
    """A class of ours."""

    height: int
    width: int = 224
    scale: InitVar[int] = 1

    def __post_init__(self, scale: int) -> None:
        object.__setattr__(self, "height", self.height * scale)


@dataclass(frozen=True, kw_only=True, slots=True)
class Frozen:
    """The same class."""

    height: int
    width: int = 224
    scale: InitVar[int] = 1

    def __post_init__(self, scale: int) -> None:
        object.__setattr__(self, "height", self.height * scale)


def test_an_immutable_class_is_a_frozen_dataclass() -> None:
    ours, theirs = Image(height=8, scale=2), Frozen(height=8, scale=2)
    assert repr(ours) == repr(theirs).replace("Frozen", "Image")
    assert [f.name for f in fields(ours)] == [f.name for f in fields(theirs)]
    assert [*signature(Image).parameters] == [*signature(Frozen).parameters]
    assert signature(Image).parameters["width"] == signature(Frozen).parameters["width"]
    assert asdict(ours) == asdict(theirs) == {"height": 16, "width": 224}
    assert ours == Image(height=16)
    assert ours != Image(height=17)
    assert ours != theirs
    assert len({ours, Image(height=16), Image(height=17)}) == 2
    assert replace(ours, width=32, scale=1) == Image(height=16, width=32)
    assert not hasattr(ours, "__dict__")
    for copied in (copy.copy(ours), copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert copied == ours
    for change in (lambda: setattr(ours, "width", 1), lambda: delattr(ours, "width")):
        with pytest.raises(FrozenInstanceError, match="field 'width'"):
            change()
    with pytest.raises(TypeError, match="misses its field 'height'"):
        Image()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="no field 'depth'"):
        Image(height=1, depth=2)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Image(1)  # type: ignore[misc]
