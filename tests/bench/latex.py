"""Sets vitcost's tables and formulas with pdflatex: ``python tests/bench/latex.py FOLDER``.

It needs Debian's texlive-latex-base and texlive-latex-recommended (booktabs). Prints the pages and
the warnings of boxes that are too wide; exit 1 where pdflatex finds an error.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))
sys.path.insert(0, str(ROOT))

HEAD = r"""\documentclass{article}
\usepackage[landscape,margin=1cm]{geometry}
\usepackage{amsmath,booktabs}
\begin{document}
\tiny
"""


def document() -> str:
    """Every result's tables, a paper's own, and an explanation of each quantity."""
    from results_support import RESULTS

    import vitcost
    from vitcost.costs.quantities import EXPLAINED
    from vitcost.pages.shaped import Shaped
    from vitcost.render import render

    names = ("vit_tiny_patch16_224", "vit_base_patch16_224", "deit3_large_patch16_384")
    compared = vitcost.compare(*names, quantities=["params", "macs", "train_memory"])
    columns = ("model=Model", "params=Params (M)", "macs=MACs (G)", "train=Memory (GiB)")
    parts = [render(Shaped(compared, columns=columns), "latex")]
    parts += [render(result(), "latex") for result in RESULTS.values()]
    for quantity in EXPLAINED:
        parts.append(vitcost.explain(names[0], quantity, latex=True).latex or "")
    return HEAD + "\n\n\\bigskip\n".join(parts) + "\n\\end{document}\n"


def main(folder: Path) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vitcost.tex").write_text(document(), encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "vitcost.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace")
    for line in done.stdout.splitlines():
        if re.match(r"!|l\.\d|Overfull|Output written", line):
            print(line)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
