"""Makes the digests of names that no formula describes, and holds them against their libraries.

    PYTHONPATH=.:tests/start python tests/digest/make.py trace FOLDER [NAME ...]
    PYTHONPATH=.:tests/start python tests/digest/make.py condense FOLDER [NAME ...]
    PYTHONPATH=.:tests/start python tests/digest/make.py pack FOLDER
    PYTHONPATH=.:tests/start python tests/digest/make.py compare FOLDER [NAME ...]
    PYTHONPATH=.:tests/start python tests/digest/make.py news
    PYTHONPATH=.:tests/start python tests/digest/make.py verify [NAME ...]

The names are timm's, or with ``hub`` before the command (``make.py hub trace FOLDER``) the ids of
the Hugging Face hub that ``vitcost/zoo/hub_traced.py`` has.

``trace`` writes a trace file a name into a folder, all names or those that are given: some five
hours of one core. It goes on where it stopped, and several may run beside each other; the folder
is of one version of timm and torch. ``condense`` keeps the digest of each file beside it, about a
second a name, and ``pack`` puts those that are there into one file, below ``vitcost/zoo``, beside
the names that this file has already: without names ``trace`` leaves these out.
``compare`` holds every answer of the digest against that of the whole trace, with ``==``. ``news``
says which names an installed library has more or fewer. ``verify`` traces names anew and compares
their answers.
"""

import json
import os
import sys
import time
from ast import dump, parse
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

sys.path.insert(0, str(Path(__file__).parent))

from compare import differences
from condense import Named, as_bf16, named, squares
from on_meta import counted
from pack import pack
from peaks import Refused

from vitcost.config.scenario import Scenario
from vitcost.errors import VitcostError
from vitcost.traced.digest import Refused as Unfollowed
from vitcost.traced.digest import content, index
from vitcost.traced.file import TraceFile, read
from vitcost.traced.trace import How, Trace, how_of
from vitcost.traced.trace_writer import write
from vitcost.zoo import Resolved, tracing
from vitcost.zoo.digests import HUB, TIMM
from vitcost.zoo.hub_traced import TRACED
from vitcost.zoo.timm.others import OTHERS

PRECISIONS = ("fp32", "amp-bf16", "bf16")
# a third batch shows in fp32 that a size is a line
LINES, FEWER = (2, 3, 4), (2, 3)


class Library(NamedTuple):
    """Whose names a digest has: the package, the file, the names, and how one of them is traced."""

    package: str
    file: Path
    names: Callable[[], list[str]]
    trace: Callable[[str], Resolved | None]


def main(arguments: Sequence[str]) -> int:
    library = HUB_IDS if arguments[:1] == ["hub"] else _TIMM
    arguments = arguments[1:] if library is HUB_IDS else arguments
    commands = {
        "trace": trace_all, "condense": condense_all, "pack": pack_all,
        "compare": compare_all, "news": news, "verify": verify,
    }  # fmt: skip
    if not arguments or arguments[0] not in commands:
        print(__doc__)
        return 2
    return commands[arguments[0]](library, *arguments[1:])


def names() -> list[str]:
    """Every name of timm without a formula."""
    return sorted(name for every in OTHERS.values() for name in every.split())


_TIMM = Library("timm", TIMM, names, tracing.of_timm)
HUB_IDS = Library("transformers", HUB, lambda: sorted(TRACED), tracing.of_hub)


def versions(library: Library) -> dict[str, str]:
    import torch

    package: Any = import_module(library.package)
    return {library.package: package.__version__, "torch": torch.__version__.partition("+")[0]}


def _file(folder: Path | str, name: str) -> Path:
    return Path(folder) / f"{name.replace('/', '__')}.json.gz"


# the slow stage: a trace file a name


def trace_all(library: Library, folder: str, *asked: str) -> int:
    out = Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    _keyed(out, versions(library))
    wrong = 0
    for name in asked or sorted(set(library.names()) - set(_packed(library))):
        path = _file(out, name)
        lock = path.with_name(path.name.replace(".json.gz", ".lock"))
        if path.exists() or not _locked(lock):
            continue
        started = time.process_time()
        try:
            _write(path, traced(name, library=library))
            said = f"{path.stat().st_size:,} bytes"
        except VitcostError as error:
            wrong, said = wrong + 1, f"FAILED {error}"
            _refuse(path, name, library, str(error))
        finally:
            lock.unlink()
        print(f"{name} {time.process_time() - started:.1f} s {said}", flush=True)
    return 1 if wrong else 0


def _keyed(out: Path, here: dict[str, str]) -> None:
    """A folder is of one version of a library and of torch."""
    key = out / "versions.json"
    if not key.exists():
        key.write_text(json.dumps(here))
    if json.loads(key.read_text()) != here:
        raise SystemExit(f"{out} is of {key.read_text()}, and {here} is installed")


def _locked(lock: Path) -> bool:
    try:
        os.close(os.open(lock, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def _write(path: Path, file: TraceFile) -> None:
    part = path.with_suffix(".part.gz")
    write(str(part), file)
    part.replace(path)


def _refuse(path: Path, name: str, library: Library, reason: str) -> None:
    """Keeps why a name is not traced, with what torch counts of it on the meta device."""
    if library is not _TIMM:
        return
    own = counted(name)
    row = Unfollowed(name, own.kind, own.image, own.params, own.flops // 2 // own.batch, reason)
    path.with_name(path.name.replace(".json.gz", ".refused")).write_text(json.dumps(row))


def traced(
    name: str,
    precisions: Sequence[str] = PRECISIONS,
    more: bool = True,
    library: Library = _TIMM,
) -> TraceFile:
    """A name in these precisions: of one image, and as lines in the batch; with ``more`` in fp16
    too, where that differs."""
    from vitcost.traced import module_traces

    found = library.trace(name)
    assert found is not None, f"{library.package} has no {name}"
    own: Any = found.config
    traces: list[tuple[How, Trace]] = []

    def at(precision: str) -> None:
        curved = any(squares(trace) for _, trace in traces)
        module_traces.LINES = LINES if precision == "fp32" or curved else FEWER
        how = how_of(Scenario.of(mode="train", precision=precision))
        traces.append((how, own.traces.lines(how)))
        try:
            traces.append((how, own.traces.at(how, 1)))
        except VitcostError as reason:
            print(f"{name} has no batch 1 under {precision}: {reason}", flush=True)

    for precision in precisions:
        at(precision)
    if more:
        for precision in ("amp-fp16", "fp16"):
            if precision not in precisions and as_bf16(traces, precision) is None:
                at(precision)
    return TraceFile(name, own.kind, "", tuple(traces))


# the fast stage: every file in small, and all of them in one


def condense_all(library: Library, folder: str, *asked: str) -> int:
    wrong = 0
    for name in asked or _there(library.names(), Path(folder)):
        path = _file(folder, name)
        try:
            if _kept(path) is None:
                _keep(path, named(read(path)))
        except (Refused, VitcostError) as error:
            wrong += 1
            print(f"{name}: {error}", flush=True)
    return 1 if wrong else 0


def pack_all(library: Library, folder: str) -> int:
    out = Path(folder)
    key = json.loads((out / "versions.json").read_text())
    kept = {name: _kept(_file(out, name)) for name in _there(library.names(), out)}
    found = {name: each for name, each in kept.items() if each is not None}
    of = f"{library.package} {key[library.package]}"
    if library.file.exists():
        packed = index(str(library.file))
        if (packed.library, packed.torch) != (of, key["torch"]):
            raise SystemExit(f"{library.file} is of {packed.library} and torch {packed.torch}")
        found = {**_packed(library), **found}
    refused = {**_unfollowed(library), **_refused_in(out)}
    size = pack(library.file, of, key["torch"], found, refused)
    missing = sorted(set(library.names()) - set(found))
    said = f"{len(found)} names in {size:,} bytes; {len(missing)} are missing"
    print(f"{said}, {len(set(missing) & set(refused))} of them with a reason")
    return 0


def _unfollowed(library: Library) -> dict[str, Unfollowed]:
    """The names with a reason that a library's file has by now."""
    return dict(index(str(library.file)).refused) if library.file.exists() else {}


def _refused_in(out: Path) -> dict[str, Unfollowed]:
    rows = (Unfollowed(*json.loads(path.read_text())) for path in sorted(out.glob("*.refused")))
    return {row.name: row for row in rows}


def _packed(library: Library) -> dict[str, Named]:
    """The names that a library's file has by now."""
    file = str(library.file)
    if not library.file.exists():
        return {}
    return {
        name: Named(*entry[1:5], content(file, name)) for name, entry in index(file).entries.items()
    }


def _there(every: Iterable[str], out: Path) -> list[str]:
    """The names whose trace is there."""
    return [name for name in every if _file(out, name).exists()]


@cache
def _made_by() -> int:
    """The key of a kept digest: its sources without their comments and layout."""
    here = Path(__file__)
    sources = [
        parse(here.with_name(f"{each}.py").read_text())
        for each in ("condense", "encode", "peaks", "classes")
    ]
    return crc32("".join(map(dump, sources)).encode())


def _kept(path: Path) -> Named | None:
    """The digest of a trace file that is kept beside it; None for one of other sources."""
    kept = path.with_name(path.name.replace(".json.gz", ".digest"))
    if not kept.exists() or kept.stat().st_mtime < path.stat().st_mtime:
        return None
    said = json.loads(kept.read_text())
    if said["made_by"] != _made_by():
        return None
    return Named(said["kind"], tuple(said["image"]), *said["sizes"], said["block"])


def _keep(path: Path, found: Named) -> None:
    said = {
        "made_by": _made_by(),
        "kind": found.kind,
        "image": found.image,
        "sizes": [found.params, found.macs],
        "block": found.block,
    }
    path.with_name(path.name.replace(".json.gz", ".digest")).write_text(json.dumps(said))


# what holds


def compare_all(library: Library, folder: str, *asked: str) -> int:
    """Every answer of the digest against that of the whole trace."""
    wrong = 0
    for name in asked or sorted(index(str(library.file)).entries):
        started = time.process_time()
        found = list(differences(name, read(str(_file(folder, name)))))
        wrong += bool(found)
        for line in found[:5]:
            print(f"{name}: {line}", flush=True)
        print(f"{name} {time.process_time() - started:.1f} s", flush=True)
    return 1 if wrong else 0


def news(library: Library) -> int:
    """Prints the names that the installed library has and the digest has not, and the reverse."""
    known = index(str(library.file))
    print(f"the digest is of {known.library} and torch {known.torch}; here is {versions(library)}")
    here = set(library.names())
    if library is _TIMM:
        here = set(import_module("timm").list_models())
        print(f"new: {', '.join(sorted(here - _all_names())) or 'none'}")
    print(f"gone: {', '.join(sorted(set(known.entries) - here)) or 'none'}")
    missing = sorted((set(library.names()) & here) - set(known.entries))
    print(f"not in the digest: {', '.join(missing) or 'none'}")
    return 0


def _all_names() -> set[str]:
    from vitcost.zoo import timm

    return {*names(), *timm.names()}


def verify(library: Library, *asked: str) -> int:
    """Names traced anew against their digests."""
    wrong = 0
    for name in asked or sorted(index(str(library.file)).entries):
        found = list(differences(name, traced(name, library=library)))
        wrong += bool(found)
        print(f"{name}: {'; '.join(found[:5]) or 'equal'}", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
