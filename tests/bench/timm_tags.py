"""Writes the tags of timm's architectures without a formula, from an installed timm.

    python tests/bench/timm_tags.py

A tag of other classes than a bare name's 1000 is ``tag:21841``, one of another size than the
architecture's first tag is ``tag@384``. Names of the table ``OTHERS`` alone are written.
"""

from pathlib import Path
from textwrap import wrap

from timm.models import get_pretrained_cfg
from timm.models._registry import _model_default_cfgs

from vitcost.zoo.timm.others import OTHERS
from vitcost.zoo.timm.tagged import CLASSES

FILE = Path(__file__).parents[2] / "vitcost" / "zoo" / "timm" / "tagged.py"
START, END = "TAGS: Mapping[str, str] = {\n", "}\n"


def spelled(name: str) -> str:
    """The tags of an architecture in timm's order, the default first."""
    own = get_pretrained_cfg(name).input_size
    words = []
    known = _model_default_cfgs[name]
    for tag, cfg in ((tag, known.cfgs[tag]) for tag in known.tags if tag):
        assert cfg.input_size[0] == own[0], f"{name}.{tag} reads other channels"
        word = tag if cfg.num_classes == CLASSES else f"{tag}:{cfg.num_classes}"
        high, wide = cfg.input_size[1:]
        size = f"{high}" if high == wide else f"{high}x{wide}"
        words.append(word if cfg.input_size == own else f"{word}@{size}")
    return " ".join(words)


def table() -> str:
    """The rows of the table as Python spells them."""
    names = sorted(name for many in OTHERS.values() for name in many.split())
    lines = []
    for name, words in ((name, spelled(name)) for name in names):
        line = f'    "{name}": "{words}",\n'
        if not words:
            continue
        if len(line) <= 101:
            lines.append(line)
            continue
        parts = [f'        "{part} "\n' for part in wrap(words, 85, break_on_hyphens=False)]
        lines += [f'    "{name}": (\n', *parts, "    ),\n"]
    return "".join(lines)


def main() -> None:
    before, _, rest = FILE.read_text(encoding="utf-8").partition(START)
    _, _, after = rest.partition(END)
    FILE.write_text(before + START + table() + END + after, encoding="utf-8")


if __name__ == "__main__":
    main()
