"""The cards, one row each, with the sources of its figures.

A row is one exact card: an H100 on a board (``h100-sxm``) and one in a slot (``h100-pcie``) differ
by a third. Peaks are dense TFLOP/s (int8: TOP/s), half precision with fp32 accumulation: a sheet's
sparse figure is twice that, and so is a GeForce's with fp16 accumulation, which torch never uses.
``link_gbps`` is one direction; sheets add both. ``memory_gb`` is the sheet's number, which on the
card is GiB. ``architecture`` decides which kernels a library has for the card. None, or an empty
text, means that no source was found.
"""

from typing import Any, NamedTuple

__all__ = ["ALIASES", "CARDS", "CPUS", "SOURCES", "Card", "Peaks"]


class Peaks(NamedTuple):
    """Dense peaks in TFLOP/s, half precision with fp32 accumulation."""

    fp32: float | None = None
    tf32: float | None = None
    fp16: float | None = None
    bf16: float | None = None
    fp8: float | None = None
    int8: float | None = None


class Card(NamedTuple):
    """One exact card, with the figures of its data sheet."""

    name: str
    vendor: str
    peaks: Peaks
    memory_gb: float | None = None  # GB on the sheet, GiB on the card
    bandwidth_gbps: float | None = None  # GB/s to the card's own memory
    link_gbps: float | None = None  # GB/s to other cards, one direction
    power_w: float | None = None
    year: int | None = None  # of the vendor's announcement
    source: str = ""  # keys of SOURCES; or the place where the user describes the card
    usable_bytes: int | None = None  # the memory that a process may use, if a source states it
    like: str = ""  # the card of the table from which the user's own card is made
    architecture: str = ""  # NVIDIA's compute capability, "9.0", or AMD's LLVM target, "gfx942"

    @property
    def kin(self) -> str:
        """The name of the table's card with the same silicon, else its own name."""
        return self.like or self.name

    @property
    def is_processor(self) -> bool:
        """Whether it is a CPU, so that tensors lie in the memory of the host."""
        return self.vendor == "CPU"

    @property
    def capability(self) -> tuple[int, int] | None:
        """The compute capability of an NVIDIA card as a pair of numbers that can be compared; else
        None."""
        major, dot, minor = self.architecture.partition(".")
        return (int(major), int(minor)) if dot else None

    @property
    def memory_bytes(self) -> int | None:
        """Bytes on the card: vendors write GB, and the chips have GiB."""
        return None if self.memory_gb is None else int(self.memory_gb * 2**30)

    @property
    def capacity_bytes(self) -> int | None:
        """Bytes that a process can use: the figure of a source, else the whole memory of
        the card."""
        return self.memory_bytes if self.usable_bytes is None else self.usable_bytes

    @property
    def bandwidth(self) -> float | None:
        """Bytes a second to and from the card's own memory."""
        return None if self.bandwidth_gbps is None else self.bandwidth_gbps * 1e9

    @property
    def link(self) -> float | None:
        """Bytes a second to other cards, one direction."""
        return None if self.link_gbps is None else self.link_gbps * 1e9


SOURCES = {
    "accel": "stas00/ml-engineering@744d01e18 compute/accelerator/README.md (CC BY-SA 4.0)",
    "aiconf": "ai-dynamo/aiconfigurator@095f58a51 systems/*.yaml (NVIDIA)",
    "anandtech": "https://www.anandtech.com/show/18780",
    "cc": "https://developer.nvidia.com/cuda-gpus (compute capability)",
    "cc-legacy": "https://developer.nvidia.com/cuda-legacy-gpus (compute capability)",
    "composer": "mosaicml/composer@640518880 composer/callbacks/speed_monitor.py",
    "fixstars": "https://blog.us.fixstars.com/"
    "what-kind-of-gpu-is-the-nvidia-rtx-pro-6000-blackwell-max-q",
    "gb202": "https://technical.city/en/video/RTX-4000-SFF-Ada-Generation-vs-RTX-PRO-6000-Blackwell-"
    "Max-Q (fp32 of the Max-Q: a quarter of its dense bf16; so too that of the server card)",
    "google": "https://docs.cloud.google.com/tpu/docs/{v4,v5e,v5p-training,v6e}",
    "gpublog": "https://gpu.blog/gpus/instinct-mi300x-mi300x",
    "gcp": "GoogleCloudPlatform/professional-services "
    "tools/instance_mapper/cmd/instance_mapper/gpu-mapping.yaml (fp32)",
    "gpuhunt": "dstackai/gpuhunt@35841515d src/gpuhunt/_internal/constraints.py",
    "gpuhunt-cc": "dstackai/gpuhunt@0ae939f7d src/gpuhunt/_internal/constraints.py "
    "(compute capability)",
    "hf": "https://huggingface.co/hardware/a30 (fp32)",
    "hmc": "https://hmc-tech.com/gpus/nvidia-geforce-rtx-4090-vs-nvidia-rtx-pro-5000-blackwell",
    "holynerdvana": "https://holynerdvana.blogspot.com/2022/10/"
    "nvidia-geforce-rtx-3090-specifications.html",
    "inductor": "pytorch/pytorch 2.13.0 torch/_inductor/analysis/device_info.py",
    "lightning": "Lightning-AI/pytorch-lightning@7f0c3436c "
    "src/lightning/fabric/utilities/throughput.py",
    "llm-analysis": "cli99/llm-analysis@d841e40ae gpu_configs/*.json",
    "mig": "https://docs.nvidia.com/datacenter/tesla/mig-user-guide/supported-gpus.html "
    "(compute capability)",
    "mlco2": "mlco2/impact@d0d3ee5a7 data/gpus.csv",
    "nanochat": "karpathy/nanochat@92d63d4e8 nanochat/common.py get_peak_flops",
    "nanochat60": "karpathy/nanochat issue 60, citing NVIDIA's RTX Blackwell whitepaper",
    "network": "stas00/ml-engineering@744d01e18 network/README.md (CC BY-SA 4.0)",
    "notebookcheck": "https://www.notebookcheck.net AMD announces Instinct MI100, 504329 (fp32 of "
    "its matrix units)",
    "rocm": "https://rocm.docs.amd.com/en/latest/reference/gpu-specs.html (LLVM target)",
    "scaling": "jax-ml/scaling-book@0819a7d8c tpus.md",
    "spheron": "https://www.spheron.network/blog/nvidia-rtx-5090-specs/",
    "sysrqmts": "https://sysrqmts.com/en/gpus/nvidia/tesla/t4",
    "torch3090": "total capacity in torch's out-of-memory message: GaoLii/DSP issue 10",
    "torch4090": "total capacity in torch's out-of-memory message: "
    "3DTopia/Phidias-Diffusion issue 8",
    "torchtitan": "pytorch/torchtitan@b5bcd76c6 torchtitan/tools/utils.py get_peak_flops",
    "trtllm": "NVIDIA/TensorRT-LLM@16d2467ea tensorrt_llm/auto_parallel/cluster_info.py",
    "zang": "https://zangshuxian.com/new/674733024499207168 (fp32)",
    "yobitel": "https://yobitel.com/knowledge-base/amd-mi325x",
}

_: None = None  # no source
# fmt: off
_ROWS: tuple[tuple[Any, ...], ...] = (
    # name, vendor, architecture, (fp32, tf32, fp16, bf16, fp8, int8), memory, bandwidth, link,
    # power, year, source, usable
    ("v100-sxm2", "NVIDIA", "7.0", (15.7, _, 125, _, _, _), 32, 900, 150, 300,
     2017, "llm-analysis lightning mlco2 cc-legacy"),
    ("v100-pcie", "NVIDIA", "7.0", (14, _, 112, _, _, _), 16, 900, 16, 250,
     2017, "llm-analysis lightning cc-legacy"),
    ("t4", "NVIDIA", "7.5", (8.1, _, 65, _, _, 130), 16, 320, 16, 70,
     2018, "lightning sysrqmts mlco2 cc"),
    ("a10", "NVIDIA", "8.6", (31.2, 62.5, 125, 125, _, 250), 24, 600, 32, _,
     2021, "trtllm composer cc"),
    ("a10g", "NVIDIA", "8.6", (31.2, 35, 70, 70, _, 140), 24, 600, 32, _,
     2021, "trtllm llm-analysis lightning gpuhunt-cc"),
    ("a30", "NVIDIA", "8.0", (10.3, 82, 165, 165, _, 330), 24, 933, 32, 165,
     2021, "trtllm aiconf hf cc", 25_769_803_776),
    ("a40", "NVIDIA", "8.6", (37.4, 74.8, 149.7, 149.7, _, 299.3), 48, 696, 32, _,
     2020, "trtllm lightning cc"),
    ("rtx-a6000", "NVIDIA", "8.6", (38.7, 77.4, 154.8, 154.8, _, 309.7), 48, 768, 56.25, 300,
     2020, "llm-analysis lightning torchtitan mlco2 cc"),
    ("a100-sxm-40gb", "NVIDIA", "8.0", (19.5, 156, 312, 312, _, 624), 40, 1555, 300, _,
     2020, "trtllm llm-analysis gcp cc"),
    ("a100-sxm-80gb", "NVIDIA", "8.0", (19.5, 156, 312, 312, _, 624), 80, 2039, 300, 400,
     2020, "trtllm lightning aiconf cc", 85_899_345_920),
    ("a100-pcie-40gb", "NVIDIA", "8.0", (19.5, 156, 312, 312, _, 624), 40, 1555, 32, _,
     2020, "trtllm llm-analysis gcp cc"),
    ("a100-pcie-80gb", "NVIDIA", "8.0", (19.5, 156, 312, 312, _, 624), 80, 1935, 32, 300,
     2021, "accel aiconf trtllm cc", 85_899_345_920),
    ("l4", "NVIDIA", "8.9", (30.3, 60, 121, 121, 242, 242), 24, 300, 32, 72,
     2023, "aiconf lightning trtllm cc", 25_769_803_776),
    ("l40", "NVIDIA", "8.9", (90.5, 90.5, 181, 181, 362, 362), 48, 864, 32, _,
     2022, "trtllm lightning cc"),
    ("l40s", "NVIDIA", "8.9", (91.6, 183, 362, 362, 733, 733), 48, 864, 32, 350,
     2023, "accel aiconf trtllm cc", 48_305_799_168),
    ("rtx3090", "NVIDIA", "8.6", (35.6, 35.6, 71, 71, _, 284), 24, 936, _, 350,
     2020, "holynerdvana lightning nanochat torch3090 cc", 25_447_681_228),
    ("rtx4090", "NVIDIA", "8.9", (82.6, 82.6, 165.2, 165.2, 330.3, 660.6), 24, 1008, _, 450,
     2022, "hmc lightning torch4090 cc", 25_383_256_719),
    ("rtx5090", "NVIDIA", "12.0", (104.8, _, 209.5, 209.5, _, _), 32, 1792, 64, 575,
     2025, "spheron nanochat cc"),
    ("rtx-pro-6000-server", "NVIDIA", "12.0", (117, _, 467.8, 467.8, 935.6, 935.6), 96, 1792, 64,
     600, 2025, "aiconf gpuhunt gb202 cc", 102_641_958_912),
    ("rtx-pro-6000-maxq", "NVIDIA", "12.0", (110.1, _, 438.9, 438.9, _, _), 96, 1792, _, 300,
     2025, "nanochat60 fixstars gb202 cc"),
    ("h100-sxm", "NVIDIA", "9.0", (67, 494.5, 989, 989, 1979, 1979), 80, 3350, 450, 700,
     2022, "accel aiconf cc", 85_899_345_920),
    ("h100-pcie", "NVIDIA", "9.0", (51, 378, 756, 756, 1513, 1513), 80, 2000, 64, 350,
     2022, "accel aiconf cc", 85_899_345_920),
    ("h100-nvl", "NVIDIA", "9.0", (60, 417.5, 835, 835, _, 1670.5), 94, 3900, _, 400,
     2023, "lightning mlco2 nanochat anandtech cc"),
    ("h200-sxm", "NVIDIA", "9.0", (67, 494.5, 989, 989, 1979, 1979), 141, 4800, 450, 700,
     2023, "accel aiconf cc", 151_397_597_184),
    ("h200-nvl", "NVIDIA", "9.0", (60, 418, 836, 836, _, 1671), 141, 4800, 450, _,
     2024, "lightning trtllm nanochat cc"),
    ("h20", "NVIDIA", "9.0", (44, 74, 148, 148, 296, 296), 96, 4000, 450, _,
     2023, "trtllm torchtitan zang mig"),
    ("b200", "NVIDIA", "10.0", (80, 1125, 2250, 2250, 4500, 4500), 180, 7700, 900, 1000,
     2024, "accel aiconf cc", 193_273_528_320),
    ("gb200", "NVIDIA", "10.0", (80, 1250, 2500, 2500, 5000, 5000), 186, 8000, 900, 1200,
     2024, "accel aiconf cc", 198_674_743_296),
    ("b300", "NVIDIA", "10.3", (80, 1125, 2250, 2250, 4500, 153.5), 288, 8000, 900, 1100,
     2025, "accel aiconf cc", 288_400_343_040),
    ("gb300", "NVIDIA", "10.3", (80, 1250, 2500, 2500, 5000, 165), _, 8000, 900, 1400,
     2025, "aiconf accel cc", 298_013_687_808),
    # the next two rows rest only on vendors' claims; the claims disagree on int8, so there is no
    # figure
    ("mi100", "AMD", "gfx908", (46.1, _, 184.6, _, _, _), 32, 1228.8, 138, _,
     2020, "llm-analysis gpuhunt notebookcheck rocm"),
    ("mi210", "AMD", "gfx90a", (45.3, _, 181, 181, _, _), 64, 1638, 150, _,
     2022, "llm-analysis gpuhunt inductor rocm"),
    ("mi250x", "AMD", "gfx90a", (47.9, _, 383, 383, _, 383), 128, 3280, 350, _,
     2021, "accel network rocm"),
    ("mi300x", "AMD", "gfx942", (163.4, 653.7, 1307.4, 1307.4, 2614.9, 2614.9), 192, 5300, 448, 750,
     2023, "inductor network gpublog accel rocm"),
    ("mi325x", "AMD", "gfx942", (163.4, 653.7, 1307.4, 1307.4, 2614.9, 2614.9),
     256, 6000, 448, 1000,
     2024, "accel nanochat network yobitel rocm"),
    ("mi350x", "AMD", "gfx950", (144.2, _, 2309.6, 2309.6, 4614, 4614), 288, 8000, 535.5, _,
     2025, "inductor network rocm"),
    ("mi355x", "AMD", "gfx950", (157.3, _, 2500, 2500, 5000, 5000), 288, 8000, 535.5, _,
     2025, "accel network rocm"),
    ("tpu-v4", "Google", "", (_, _, _, 275, _, 275), 32, 1200, 270, _,
     2021, "google scaling"),
    ("tpu-v5e", "Google", "", (_, _, _, 197, _, 393), 16, 819, 200, _,
     2023, "google"),
    ("tpu-v5p", "Google", "", (_, _, _, 459, _, 918), 95, 2765, 600, _,
     2023, "google scaling"),
    ("tpu-v6e", "Google", "", (_, _, _, 918, _, 1836), 32, 1638, 400, _,
     2024, "google"),
    ("tpu-v7x", "Google", "", (_, _, _, 2307, 4614, _), _, _, 600, _,
     2025, "accel network"),
)

# other spellings, as vendors and torch.cuda.get_device_name write them; none fits two cards
ALIASES = {
    "a100-sxm4-40gb": "a100-sxm-40gb", "a100-40gb-sxm": "a100-sxm-40gb",
    "a100-sxm4-80gb": "a100-sxm-80gb", "a100-80gb-sxm": "a100-sxm-80gb",
    "a100-40gb-pcie": "a100-pcie-40gb", "a100-80gb-pcie": "a100-pcie-80gb",
    "a6000": "rtx-a6000",
    "h100-80gb-hbm3": "h100-sxm", "h100-sxm5": "h100-sxm", "h100-sxm5-80gb": "h100-sxm",
    "h100-sxm-80gb": "h100-sxm", "h100-pcie-80gb": "h100-pcie", "h100-nvl-94gb": "h100-nvl",
    "h200-sxm5": "h200-sxm", "h200-sxm-141gb": "h200-sxm", "h200-nvl-141gb": "h200-nvl",
    "rtx-3090": "rtx3090", "3090": "rtx3090",
    "rtx-4090": "rtx4090", "4090": "rtx4090",
    "rtx-5090": "rtx5090", "5090": "rtx5090",
    "rtx-pro-6000-blackwell-server-edition": "rtx-pro-6000-server",
    "rtx-pro-6000-blackwell-max-q-workstation-edition": "rtx-pro-6000-maxq",
    "rtx-pro-6000-max-q": "rtx-pro-6000-maxq", "pro6000maxq": "rtx-pro-6000-maxq",
    "v100-sxm2-32gb": "v100-sxm2", "v100-pcie-16gb": "v100-pcie",
    "v4": "tpu-v4", "v5e": "tpu-v5e", "v5p": "tpu-v5p", "v6e": "tpu-v6e", "v7x": "tpu-v7x",
    "trillium": "tpu-v6e", "ironwood": "tpu-v7x",
}
# fmt: on

# processors that were measured; they have no data sheet, so predictions rest only on their
# measurements
CPUS = {
    name: Card(name, "CPU", Peaks(), source="timm benchmark files @aa4b5850")
    for name in ("cpu-i9_10940x", "cpu-i7_12700h")
}
CARDS = {
    name: Card(name, vendor, Peaks(*peaks), *rest)._replace(architecture=architecture)
    for name, vendor, architecture, peaks, *rest in _ROWS
}
