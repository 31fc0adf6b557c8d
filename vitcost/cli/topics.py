"""The texts of ``vitcost help TOPIC``: files, and lists made from the library's tables."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from textwrap import wrap

import click

__all__ = ["TOPICS", "listed"]

# columns of a terminal, which every line of a topic fits
_WIDTH = 80


def listed(rows: Iterable[tuple[str, str]]) -> list[str]:
    """Names, each followed by its meaning, which is wrapped and indented."""
    formatter = click.HelpFormatter(width=_WIDTH)
    formatter.indent()
    formatter.write_dl([*rows], col_max=24)
    return formatter.getvalue().splitlines()


def _prose(*paragraphs: str) -> Iterator[str]:
    for i, paragraph in enumerate(paragraphs):
        if i:
            yield ""
        yield from wrap(paragraph, _WIDTH, break_on_hyphens=False, break_long_words=False)


def _fields() -> Iterator[str]:
    from vitcost.config.text_config import TEXT_FIELDS
    from vitcost.config.vit_config import FIELDS

    yield from _prose(
        "A model is its fields, in timm's names. Each is a flag (`--img-size 384`), a keyword in "
        "Python (`img_size=384`), a key of a .toml or .json file, and varies in `vitcost compare "
        "--vary img_size=224,384`. A field in place of the model's own is said in the first line "
        "of the page."
    )
    text = {name: declared for name, declared in TEXT_FIELDS.items() if name not in FIELDS}
    for title, declared in (("Fields of a model of images", FIELDS), ("of text beside them", text)):
        yield from ("", f"{title}:")
        yield from listed(
            (
                f"--{name.replace('_', '-')}",
                field.help
                + (f": {', '.join(filter(None, field.choices))}" if field.choices else ""),
            )
            for name, (_, field) in declared.items()
        )


def _precision() -> Iterator[str]:
    from vitcost.config.scenario import PRECISIONS

    meanings = {
        "fp32": "everything in float32; products on the card's fp32 units",
        "tf32": "the same bytes; products on the matrix units, as torch computes them after "
        "set_float32_matmul_precision('high')",
        "amp-bf16": "torch.autocast(dtype=bfloat16): weights and states of four bytes; "
        "inference keeps a half copy of the weights, and so can take more than fp32",
        "amp-fp16": "torch.autocast(dtype=float16)",
        "bf16": "model.bfloat16(): weights, gradients and optimizer states of two bytes",
        "fp16": "model.half()",
    }
    yield from _prose(
        "`--precision` is the type of weights and of products. Most who say bf16 mean autocast, "
        "which is amp-bf16 here; bf16 casts everything, the optimizer's states included, and "
        "changes what training computes."
    )
    yield ""
    yield from listed((name, meanings.get(name, "")) for name in PRECISIONS)
    yield ""
    yield from _prose(
        "A `--recipe` (megatron-fp16, deepspeed, zero, apex-o2, …) is a published account of what "
        "a parameter takes in training, master copies included; it fixes precision and optimizer."
    )


def _file(name: str) -> Iterator[str]:
    """The lines of a text file next to this module; Markdown is converted for a terminal."""
    from pathlib import Path

    text = Path(__file__).with_name(name).read_text(encoding="utf-8")
    for line in text.splitlines():
        if not line.startswith("```"):
            yield line.lstrip("#").lstrip() if line.startswith("#") else line


TOPICS: Mapping[str, tuple[str, Callable[[], Iterator[str]]]] = {
    "page": (
        "how to read a report, and nvidia-smi beside it",
        partial(_file, "page.md"),
    ),
    "fields": ("the parts of a model, and how each is overridden", _fields),
    "precision": ("fp32, tf32, autocast, and the tensors that each casts", _precision),
    "memory": (
        "the number that must fit, and ways to lower it",
        partial(_file, "memory.txt"),
    ),
    "cards": ("the cards, your own, and the basis of a time", partial(_file, "cards.txt")),
    "units": ("MACs and FLOPs, GB and GiB, and numbers as typed", partial(_file, "units.txt")),
}
