"""``web``: the page as a folder of static files, which any server serves.

The folder contains the library's own Python files in an archive, and Pyodide's runtime or its
address, so no part of the library is rewritten in another language. The digests of names without a
formula are separate files, which the page fetches when such a name is asked for.
"""

import gzip
import re
import tarfile
from collections.abc import Iterator, Mapping
from hashlib import sha256
from html import escape
from io import BytesIO
from json import dumps
from pathlib import Path
from typing import NamedTuple

from vitcost.errors import ConfigError, shown
from vitcost.hardware.specs import card_names
from vitcost.outside.arguments import path, text
from vitcost.outside.version import VERSION
from vitcost.outside.writing import whole
from vitcost.render.html import STYLE
from vitcost.web.answer import answer
from vitcost.web.controls import FIRST, form
from vitcost.zoo import digests, names

__all__ = ["PYODIDE", "RUNTIME", "Site", "packed", "web"]

# the release of Pyodide that the page is tested with, and the address where its makers serve it
PYODIDE = "314.0.7"
_ADDRESS = f"https://cdn.jsdelivr.net/pyodide/v{PYODIDE}/full/"
# the files that Pyodide loads before it runs Python
RUNTIME = (
    "pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "python_stdlib.zip", "pyodide-lock.json",
)  # fmt: skip
_ROOT = Path(__file__).parents[1]
_ASSETS = Path(__file__).parent / "assets"
# folders and files that are left out: they need torch, sympy or a terminal, or answer other
# questions
_APART = (
    "check/", "cli/", "formulas/", "schemas/", "hardware/score.py", "costs/models.py",
    "zoo/patterns.py", "__main__.py",
)  # fmt: skip
# folders of which only some modules are needed, those for a report and a fit
_PARTLY = {
    "pages": "__init__ bars fit_page memory_tables over_step report_page subject time_tables",
    "planner": "__init__ from_keywords fit largest levers need reserve ways",
    "render": "__init__ html marks mathml result",
    "web": "answer controls formula",
}
_TORCH = "\nimport torch\n"
_DIGESTS = (digests.TIMM, digests.HUB)
# the examples in a docstring, up to its end
_EXAMPLES = re.compile(rb'\n+ *>>> .*?(?=\n *""")', re.DOTALL)


class Site(NamedTuple):
    """The files that were written, and their bytes; with Pyodide's own bytes if it was copied, and
    the digests counted separately."""

    folder: str
    files: Mapping[str, int]
    pyodide: str

    @property
    def own_bytes(self) -> int:
        sizes = (size for name, size in self.files.items() if not name.startswith("pyodide/"))
        return sum(sizes) - self.digest_bytes

    @property
    def digest_bytes(self) -> int:
        return sum(self.files.get(file.name, 0) for file in _DIGESTS)


def web(folder: str, *, pyodide: str = "") -> Site:
    """Writes the page into a folder; ``pyodide`` is the folder of a Pyodide release, which is
    copied, or its address. Without it the page loads the official distribution.

    Raises ``ConfigError`` for a folder that cannot be written, and for a folder without Pyodide.
    """
    folder, pyodide = path("folder", folder), text("pyodide", pyodide)
    runtime = _runtime(pyodide)
    address = pyodide if "://" in pyodide else "pyodide/" if runtime else _ADDRESS
    address = address if address.endswith("/") else f"{address}/"
    files = {**_own(address), **{f"pyodide/{name}": data for name, data in runtime.items()}}
    files |= {file.name: file.read_bytes() for file in _DIGESTS if file.exists()}
    files["sw.js"] = _service(files, address)
    root = Path(folder)
    try:
        (root / "pyodide" if runtime else root).mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise ConfigError(f"cannot write {shown(folder)}: {why}") from None
    for name, data in files.items():
        with whole(str(root / name)) as file:
            file.write_bytes(data)
    return Site(folder, {name: len(data) for name, data in files.items()}, address)


def packed() -> bytes:
    """The library's Python files in one archive, without the examples in docstrings, which no page
    shows; equal files give equal bytes."""
    archive = BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path in sorted(_ROOT.rglob("*.py")):
            name, source = path.relative_to(_ROOT).as_posix(), path.read_bytes()
            folder, _, module = name.removesuffix(".py").partition("/")
            apart = folder in _PARTLY and module not in _PARTLY[folder].split()
            if apart or name.startswith(_APART) or _TORCH.encode() in source:
                continue
            source = _EXAMPLES.sub(b"", source)
            entry = tarfile.TarInfo(f"vitcost/{name}")
            entry.size = len(source)
            tar.addfile(entry, BytesIO(source))
    return gzip.compress(archive.getvalue(), 9, mtime=0)


def _runtime(pyodide: str) -> dict[str, bytes]:
    """The files of a Pyodide release in a local folder; none if the page loads Pyodide from an
    address."""
    if not pyodide or "://" in pyodide:
        return {}
    folder = Path(pyodide)
    missing = [name for name in RUNTIME if not (folder / name).is_file()]
    if missing:
        raise ConfigError(
            f"{shown(pyodide)} is no folder of Pyodide: it has no {', '.join(missing)}; "
            f"`npm pack pyodide@{PYODIDE}` brings one"
        )
    return {name: (folder / name).read_bytes() for name in RUNTIME}


def _own(address: str) -> dict[str, bytes]:
    """The page's own files, and the library."""
    first = answer(FIRST["model"], FIRST)
    rest = answer(FIRST["model"], FIRST, rest=True)
    put = {
        "VERSION": VERSION,
        "PYODIDE": escape(address),
        "POLICY": _policy(address),
        "FORM": form(),
        "MODELS": _options(names()),
        "CARDS": _options(card_names()),
        "FIRST": f"{first.html}<div class='rest'>{rest.html}</div>",
        "SAID": escape(first.said),
    }
    page = _text("page.html")
    for word, shown_text in put.items():
        page = page.replace(f"{{{{{word}}}}}", shown_text)
    # the path of a folder that a module imports must begin with a dot
    here = address if "://" in address else f"./{address}"
    worker = _text("worker.js").replace("{{PYODIDE}}", here)
    return {
        "index.html": page.encode(),
        "page.css": (_text("page.css") + STYLE).encode(),
        "page.js": _text("page.js").encode(),
        "worker.js": worker.encode(),
        # with this suffix no server takes it for a file to unpack
        "vitcost.pack": packed(),
    }


def _service(files: Mapping[str, bytes], address: str) -> bytes:
    """The service worker that caches every file, under a hash of all of them; digests are cached
    when they are first asked for."""
    digest = sha256()
    for name in sorted(files):
        digest.update(name.encode() + b"\0" + files[name])
    runtime = [f"{address}{name}" for name in RUNTIME]
    later = [file.name for file in _DIGESTS if file.name in files]
    at_once = [name for name in files if not name.startswith("pyodide/") and name not in later]
    kept = ["./", *at_once, *runtime]
    text = _text("sw.js").replace("{{DIGEST}}", digest.hexdigest()[:16])
    return text.replace("{{FILES}}", dumps(kept)).replace("{{LATER}}", dumps(later)).encode()


def _policy(address: str) -> str:
    """The addresses from which the page may load: its own folder, and Pyodide's address."""
    origin = "" if "://" not in address else " " + "/".join(address.split("/")[:3])
    return escape(
        f"default-src 'none'; script-src 'self' 'wasm-unsafe-eval'{origin}; worker-src 'self'; "
        f"connect-src 'self'{origin}; img-src data:; style-src 'self' 'unsafe-inline'; "
        "base-uri 'none'; form-action 'none'"
    )


def _options(words: "Iterator[str] | list[str]") -> str:
    return "".join(f"<option>{escape(word)}</option>" for word in words)


def _text(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")
