"""Makes the digest of the names of timm that no formula describes, and holds it against timm.

    PYTHONPATH=.:tests/start python tests/digest/make.py trace FOLDER [NAME ...]
    PYTHONPATH=.:tests/start python tests/digest/make.py condense FOLDER [NAME ...]
    PYTHONPATH=.:tests/start python tests/digest/make.py pack FOLDER
    PYTHONPATH=.:tests/start python tests/digest/make.py compare FOLDER [NAME ...]
    PYTHONPATH=.:tests/start python tests/digest/make.py news
    PYTHONPATH=.:tests/start python tests/digest/make.py verify [NAME ...]

``trace`` writes a trace file a name into a folder, all names or those that are given: some five
hours of one core. It goes on where it stopped, and several may run beside each other; the folder
is of one version of timm and torch. ``condense`` keeps the digest of each file beside it, about a
second a name, and ``pack`` puts those that are there into ``vitcost/zoo/timm/digest.bin``.
``compare`` holds every answer of the digest against that of the whole trace, with ``==``. ``news``
says which names an installed timm has more or fewer. ``verify`` traces names anew and compares
their answers.
"""

import json
import os
import sys
import time
from ast import dump, parse
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any
from zlib import crc32

sys.path.insert(0, str(Path(__file__).parent))

from compare import differences
from condense import Named, Refused, named
from pack import pack

from vitcost.errors import VitcostError
from vitcost.scenario import Scenario
from vitcost.traced.digest import index
from vitcost.traced.file import TraceFile, read, write
from vitcost.traced.trace import How, Trace, how_of
from vitcost.zoo import tracing
from vitcost.zoo.digests import TIMM
from vitcost.zoo.timm.others import OTHERS

# fp16 runs what bf16 runs, but where CUDA takes a softmax and its cast in one kernel
PRECISIONS = ("fp32", "amp-bf16", "bf16")
WITH_SOFTMAX = ("amp-fp16", "fp16")
_SOFTMAX = {"_softmax", "_log_softmax", "_safe_softmax"}
# a third batch shows in fp32 that a size is a line
LINES, FEWER = (2, 3, 4), (2, 3)


def main(arguments: Sequence[str]) -> int:
    commands = {
        "trace": trace_all, "condense": condense_all, "pack": pack_all,
        "compare": compare_all, "news": news, "verify": verify,
    }  # fmt: skip
    if not arguments or arguments[0] not in commands:
        print(__doc__)
        return 2
    return commands[arguments[0]](*arguments[1:])


def names() -> list[str]:
    """Every name of timm without a formula."""
    return sorted(name for every in OTHERS.values() for name in every.split())


def versions() -> dict[str, str]:
    import timm
    import torch

    return {"timm": timm.__version__, "torch": torch.__version__.partition("+")[0]}


# the slow stage: a trace file a name


def trace_all(folder: str, *asked: str) -> int:
    out = Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    _keyed(out)
    wrong = 0
    for name in asked or names():
        path, lock = out / f"{name}.json.gz", out / f"{name}.lock"
        if path.exists() or not _locked(lock):
            continue
        started = time.process_time()
        try:
            _write(path, traced(name))
            said = f"{path.stat().st_size:,} bytes"
        except VitcostError as error:
            wrong, said = wrong + 1, f"FAILED {error}"
        finally:
            lock.unlink()
        print(f"{name} {time.process_time() - started:.1f} s {said}", flush=True)
    return 1 if wrong else 0


def _keyed(out: Path) -> None:
    """A folder is of one version of timm and of torch."""
    key = out / "versions.json"
    if not key.exists():
        key.write_text(json.dumps(versions()))
    if json.loads(key.read_text()) != versions():
        raise SystemExit(f"{out} is of {key.read_text()}, and {versions()} is installed")


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


def traced(name: str, precisions: Sequence[str] = PRECISIONS, more: bool = True) -> TraceFile:
    """A name of timm in these precisions: of one image, and as lines in the batch; with ``more`` in
    fp16 too, where that differs."""
    from vitcost.traced import modules

    found = tracing.of_timm(name)
    assert found is not None, f"timm has no {name}"
    own: Any = found.config
    traces: list[tuple[How, Trace]] = []

    def at(precision: str) -> None:
        modules.LINES = LINES if precision == "fp32" else FEWER
        how = how_of(Scenario.of(mode="train", precision=precision))
        traces.append((how, own.traces.lines(how)))
        try:
            traces.append((how, own.traces.at(how, 1)))
        except VitcostError as reason:
            print(f"{name} has no batch 1 under {precision}: {reason}", flush=True)

    for precision in precisions:
        at(precision)
    if more and {o.name for _, each in traces for o in each.inference.operators} & _SOFTMAX:
        for precision in set(WITH_SOFTMAX) - set(precisions):
            at(precision)
    return TraceFile(name, own.kind, "", tuple(traces))


# the fast stage: every file in small, and all of them in one


def condense_all(folder: str, *asked: str) -> int:
    wrong = 0
    for name in asked or _there(Path(folder)):
        path = Path(folder) / f"{name}.json.gz"
        try:
            if _kept(path) is None:
                _keep(path, named(read(path)))
        except (Refused, VitcostError) as error:
            wrong += 1
            print(f"{name}: {error}", flush=True)
    return 1 if wrong else 0


def pack_all(folder: str) -> int:
    out = Path(folder)
    key = json.loads((out / "versions.json").read_text())
    kept = {name: _kept(out / f"{name}.json.gz") for name in _there(out)}
    found = {name: each for name, each in kept.items() if each is not None}
    size = pack(TIMM, f"timm {key['timm']}", key["torch"], found)
    missing = sorted(set(names()) - set(found))
    print(f"{len(found)} names in {size:,} bytes; {len(missing)} are missing")
    return 0


def _there(out: Path) -> list[str]:
    """The names whose trace is there."""
    return [name for name in names() if (out / f"{name}.json.gz").exists()]


@cache
def _made_by() -> int:
    """What a digest is kept under: comments and layout of its sources change none."""
    here = Path(__file__)
    sources = [parse(here.with_name(f"{each}.py").read_text()) for each in ("condense", "encode")]
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


def compare_all(folder: str, *asked: str) -> int:
    """Every answer of the digest against that of the whole trace."""
    out = Path(folder)
    wrong = 0
    for name in asked or sorted(index(str(TIMM)).entries):
        started = time.process_time()
        found = list(differences(name, read(out / f"{name}.json.gz")))
        wrong += bool(found)
        for line in found[:5]:
            print(f"{name}: {line}", flush=True)
        print(f"{name} {time.process_time() - started:.1f} s", flush=True)
    return 1 if wrong else 0


def news() -> int:
    """What the installed timm has that the digest has not, and the other way round."""
    import timm

    known = index(str(TIMM))
    print(f"the digest is of {known.library} and torch {known.torch}; here is {versions()}")
    here = set(timm.list_models())
    for said, each in (("new", here - _all_names()), ("gone", set(known.entries) - here)):
        print(f"{said}: {', '.join(sorted(each)) or 'none'}")
    missing = sorted((set(names()) & here) - set(known.entries))
    print(f"not in the digest: {', '.join(missing) or 'none'}")
    return 0


def _all_names() -> set[str]:
    from vitcost.zoo import timm

    return {*names(), *timm.names()}


def verify(*asked: str) -> int:
    """Names traced anew against their digests."""
    wrong = 0
    for name in asked or sorted(index(str(TIMM)).entries):
        found = list(differences(name, traced(name)))
        wrong += bool(found)
        print(f"{name}: {'; '.join(found[:5]) or 'equal'}", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
