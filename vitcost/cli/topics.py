"""The texts of ``vitcost help TOPIC``, made from the tables of the library."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from textwrap import wrap

__all__ = ["TOPICS", "topic"]

_WIDTH = 80


def topic(name: str) -> str:
    """The text of a topic, of lines that a terminal of 80 columns has room for."""
    return "\n".join(TOPICS[name][1]()) + "\n"


def _list(rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Names with their meaning behind them, wrapped below itself."""
    rows = list(rows)
    room = min(28, 4 + max(len(name) for name, _ in rows))
    for name, text in rows:
        lines = wrap(text, _WIDTH - room) or [""]
        first = f"  {name}".ljust(room)
        if len(name) + 4 > room:
            yield f"  {name}"
            first = " " * room
        yield f"{first}{lines[0]}".rstrip()
        yield from (f"{'':{room}}{line}" for line in lines[1:])


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
        yield from _list(
            (
                f"--{name.replace('_', '-')}",
                field.help
                + (f": {', '.join(filter(None, field.choices))}" if field.choices else ""),
            )
            for name, (_, field) in declared.items()
        )


def _precision() -> Iterator[str]:
    from vitcost.config.scenario import PRECISIONS

    said = {
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
    yield from _list((name, said.get(name, "")) for name in PRECISIONS)
    yield ""
    yield from _prose(
        "A `--recipe` (megatron-fp16, deepspeed, zero, apex-o2, …) is a published account of what "
        "a parameter takes in training, master copies included; it fixes precision and optimizer."
    )


def _cards() -> Iterator[str]:
    yield from _prose(
        "`vitcost gpus` lists the cards that are known, each figure with its source; `vitcost gpus "
        "h100` or `vitcost gpus 24GB` some of them. A card is named exactly: h100-sxm, not h100."
    )
    yield from ("", "Your own:")
    yield from _list(
        (
            ("-g l4,power_w=60", "figures in place of a card's own"),
            ("-g 24GiB", "a card of so much memory, and nothing else: it has no time"),
            ("-g x,like=l4,memory_gb=48", "a card that is like another"),
            ("pyproject.toml", "[tool.vitcost.gpu.NAME] with memory_gb, bandwidth_gbps, "
             "bf16_tflops, …; or --gpu-file FILE with [gpu.NAME]"),
        )
    )  # fmt: skip
    yield ""
    yield from _prose(
        "A time says what it rests on, and its band: calibrated (this card, software and mode were "
        "measured), anchored (something was measured on this card), of_its_kind (cards like it "
        "were), spec_sheet (nothing was, and the band is a guess). `--anchor MODEL=IMAGES_PER_S` "
        "and `vitcost calibrate` make yours of the first two kinds.",
        "Beside a step's tensors a card keeps a workspace, a context and the allocator's slack: "
        "`fits` leaves room for them, `tight` does not, `no` has no room for the tensors.",
    )


def _units() -> Iterator[str]:
    yield from _list(
        (
            ("MAC", "a multiply-add: one MAC is two FLOPs. Papers that give 17.6 G for ViT-B/16 "
             "count MACs"),
            ("FLOPs", "of convolutions and matrix products, attention included; of a batch"),
            ("pointwise", "elements that norms, softmax, activations and residual adds write; "
             "never added in"),
            ("traffic", "bytes that kernels read and write"),
            ("GiB, MiB", "2^30 and 2^20 bytes, as nvidia-smi counts"),
            ("24 GB, 24 GiB", "what you type: 24e9 and 24·2^30 bytes"),
            ("86.6 M, 1.28M, 1e6", "counts; 17.6 GFLOPs and 18 GMACs where these are asked for"),
            ("12 ms, 36h, 2 days", "durations; min is minutes"),
        )
    )  # fmt: skip
    yield ""
    yield from _prose("JSON and CSV hold base units, with the unit in the key: _bytes, _seconds.")


def _memory() -> Iterator[str]:
    yield from _prose(
        "The number to hold against a card is `peak of a step`, the bold row of Training memory: "
        "bytes of tensors at the worst moment of a steady step. It is no sum of the other column, "
        "whose parts do not peak together; the page names the moment.",
        "`at most` is a bound, where no exact peak is known: no step exceeds it while what the "
        "page assumes holds. Beside tensors a card needs a workspace, a context and slack, "
        "which `vitcost fit` keeps free.",
    )
    yield from ("", "What brings a peak down, and leaves the training as it is:")
    yield from _list(
        (
            ("--checkpointing block", "recomputes each block in the backward pass"),
            ("-b 8 --accumulate 4", "micro-batches of 8 make one step of 32"),
            ("--ranks 8 --zero 1 … 3", "divides states, gradients, weights among cards"),
            ("--attention flash", "no matrix of scores is kept"),
        )
    )
    yield from ("", "What changes it:")
    yield from _list(
        (
            ("--lora 16", "trains adapters and the head alone"),
            ("--freeze first:20", "trains the last blocks alone"),
            ("--optimizer sgd", "keeps fewer states"),
            ("--precision bf16", "casts the states too"),
        )
    )


def _page() -> Iterator[str]:
    from pathlib import Path

    text = Path(__file__).with_name("page.md").read_text(encoding="utf-8")
    for line in text.splitlines():
        if not line.startswith("```"):
            yield line.lstrip("#").lstrip() if line.startswith("#") else line


TOPICS: Mapping[str, tuple[str, Callable[[], Iterator[str]]]] = {
    "page": ("how to read a report, and what to hold against nvidia-smi", _page),
    "fields": ("what a model is made of, and how each is overridden", _fields),
    "precision": ("fp32, tf32, autocast, and what is cast in each", _precision),
    "memory": ("which number to hold against a card, and what brings it down", _memory),
    "cards": ("the cards, your own, and what a time rests on", _cards),
    "units": ("MACs and FLOPs, GB and GiB, and what may be typed", _units),
}
