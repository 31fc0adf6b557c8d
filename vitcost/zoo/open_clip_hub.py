"""Ids of the Hugging Face hub whose weights open_clip loads, each with the name of its model JSON.

Source: open_clip 3.3, ``pretrained.py``. An id that timm also loads counts as timm's here; an id
whose ``config.json`` transformers reads is in ``hub_ids``.
"""

from collections.abc import Mapping

__all__ = ["IDS", "model_of"]

IDS: Mapping[str, tuple[str, ...]] = {
    "EVA01-g-14-plus": ("timm/eva_giant_patch14_plus_clip_224.merged2b_s11b_b114k",),
    "EVA01-g-14": ("timm/eva_giant_patch14_clip_224.laion400m_s11b_b41k",),
    "EVA02-B-16": ("timm/eva02_base_patch16_clip_224.merged2b_s8b_b131k",),
    "EVA02-E-14-plus": ("timm/eva02_enormous_patch14_plus_clip_224.laion2b_s9b_b144k",),
    "EVA02-E-14": ("timm/eva02_enormous_patch14_clip_224.laion2b_s4b_b115k",),
    "EVA02-L-14-336": ("timm/eva02_large_patch14_clip_336.merged2b_s6b_b61k",),
    "EVA02-L-14": ("timm/eva02_large_patch14_clip_224.merged2b_s4b_b131k",),
    "MobileCLIP-B": (
        "apple/MobileCLIP-B-LT-OpenCLIP",
        "apple/MobileCLIP-B-OpenCLIP",
    ),
    "MobileCLIP2-B": ("timm/MobileCLIP2-B-OpenCLIP",),
    "MobileCLIP2-L-14": ("timm/MobileCLIP2-L-14-OpenCLIP",),
    "PE-Core-B-16": ("timm/PE-Core-B-16",),
    "PE-Core-L-14-336": ("timm/PE-Core-L-14-336",),
    "PE-Core-S-16-384": ("timm/PE-Core-S-16-384",),
    "PE-Core-T-16-384": ("timm/PE-Core-T-16-384",),
    "PE-Core-bigG-14-448": ("timm/PE-Core-bigG-14-448",),
    "ViT-B-16-SigLIP-256": ("timm/ViT-B-16-SigLIP-256",),
    "ViT-B-16-SigLIP-384": ("timm/ViT-B-16-SigLIP-384",),
    "ViT-B-16-SigLIP-512": ("timm/ViT-B-16-SigLIP-512",),
    "ViT-B-16-SigLIP-i18n-256": ("timm/ViT-B-16-SigLIP-i18n-256",),
    "ViT-B-16-SigLIP": ("timm/ViT-B-16-SigLIP",),
    "ViT-B-16-SigLIP2-256": ("timm/ViT-B-16-SigLIP2-256",),
    "ViT-B-16-SigLIP2-384": ("timm/ViT-B-16-SigLIP2-384",),
    "ViT-B-16-SigLIP2-512": ("timm/ViT-B-16-SigLIP2-512",),
    "ViT-B-16-SigLIP2": ("timm/ViT-B-16-SigLIP2",),
    "ViT-B-16-plus-240": ("timm/vit_base_patch16_plus_clip_240.laion400m_e31",),
    "ViT-B-16-quickgelu": ("apple/DFN2B-CLIP-ViT-B-16",),
    "ViT-B-16": (
        "laion/CLIP-ViT-B-16-CommonPool.L-s1B-b8K",
        "laion/CLIP-ViT-B-16-CommonPool.L.basic-s1B-b8K",
        "laion/CLIP-ViT-B-16-CommonPool.L.clip-s1B-b8K",
        "laion/CLIP-ViT-B-16-CommonPool.L.image-s1B-b8K",
        "laion/CLIP-ViT-B-16-CommonPool.L.laion-s1B-b8K",
        "laion/CLIP-ViT-B-16-CommonPool.L.text-s1B-b8K",
        "laion/CLIP-ViT-B-16-DataComp.L-s1B-b8K",
        "laion/CLIP-ViT-B-16-DataComp.XL-s13B-b90K",
        "laion/CLIP-ViT-B-16-laion2B-s34B-b88K",
        "timm/vit_base_patch16_clip_224.laion400m_e31",
    ),
    "ViT-B-32-256": ("laion/CLIP-ViT-B-32-256x256-DataComp-s34B-b86K",),
    "ViT-B-32-SigLIP2-256": ("timm/ViT-B-32-SigLIP2-256",),
    "ViT-B-32-quickgelu": ("timm/vit_base_patch32_clip_224.laion400m_e31",),
    "ViT-B-32": (
        "laion/CLIP-ViT-B-32-CommonPool.M-s128M-b4K",
        "laion/CLIP-ViT-B-32-CommonPool.M.basic-s128M-b4K",
        "laion/CLIP-ViT-B-32-CommonPool.M.clip-s128M-b4K",
        "laion/CLIP-ViT-B-32-CommonPool.M.image-s128M-b4K",
        "laion/CLIP-ViT-B-32-CommonPool.M.laion-s128M-b4K",
        "laion/CLIP-ViT-B-32-CommonPool.M.text-s128M-b4K",
        "laion/CLIP-ViT-B-32-CommonPool.S-s13M-b4K",
        "laion/CLIP-ViT-B-32-CommonPool.S.basic-s13M-b4K",
        "laion/CLIP-ViT-B-32-CommonPool.S.clip-s13M-b4K",
        "laion/CLIP-ViT-B-32-CommonPool.S.image-s13M-b4K",
        "laion/CLIP-ViT-B-32-CommonPool.S.laion-s13M-b4K",
        "laion/CLIP-ViT-B-32-CommonPool.S.text-s13M-b4K",
        "laion/CLIP-ViT-B-32-DataComp.M-s128M-b4K",
        "laion/CLIP-ViT-B-32-DataComp.S-s13M-b4K",
        "laion/CLIP-ViT-B-32-DataComp.XL-s13B-b90K",
        "timm/vit_base_patch32_clip_224.laion2b_e16",
    ),
    "ViT-H-14-378-quickgelu": ("apple/DFN5B-CLIP-ViT-H-14-378",),
    "ViT-H-14-CLIPA-336": (
        "UCSC-VLAA/ViT-H-14-CLIPA-336-datacomp1B",
        "UCSC-VLAA/ViT-H-14-CLIPA-336-laion2B",
    ),
    "ViT-H-14-CLIPA": ("UCSC-VLAA/ViT-H-14-CLIPA-datacomp1B",),
    "ViT-H-14-quickgelu": ("apple/DFN5B-CLIP-ViT-H-14",),
    "ViT-L-14-CLIPA-336": ("UCSC-VLAA/ViT-L-14-CLIPA-336-datacomp1B",),
    "ViT-L-14-CLIPA": ("UCSC-VLAA/ViT-L-14-CLIPA-datacomp1B",),
    "ViT-L-14-quickgelu": ("apple/DFN2B-CLIP-ViT-L-14",),
    "ViT-L-14": (
        "apple/DFN2B-CLIP-ViT-L-14-39B",
        "laion/CLIP-ViT-L-14-CommonPool.XL-s13B-b90K",
        "laion/CLIP-ViT-L-14-CommonPool.XL.clip-s13B-b90K",
        "laion/CLIP-ViT-L-14-CommonPool.XL.laion-s13B-b90K",
        "laion/CLIP-ViT-L-14-DataComp.XL-s13B-b90K",
        "timm/vit_large_patch14_clip_224.laion400m_e31",
    ),
    "ViT-L-16-SigLIP-256": ("timm/ViT-L-16-SigLIP-256",),
    "ViT-L-16-SigLIP-384": ("timm/ViT-L-16-SigLIP-384",),
    "ViT-L-16-SigLIP2-256": ("timm/ViT-L-16-SigLIP2-256",),
    "ViT-L-16-SigLIP2-384": ("timm/ViT-L-16-SigLIP2-384",),
    "ViT-L-16-SigLIP2-512": ("timm/ViT-L-16-SigLIP2-512",),
    "ViT-SO400M-14-SigLIP-384": ("timm/ViT-SO400M-14-SigLIP-384",),
    "ViT-SO400M-14-SigLIP": ("timm/ViT-SO400M-14-SigLIP",),
    "ViT-SO400M-14-SigLIP2-378": ("timm/ViT-SO400M-14-SigLIP2-378",),
    "ViT-SO400M-14-SigLIP2": ("timm/ViT-SO400M-14-SigLIP2",),
    "ViT-SO400M-16-SigLIP-i18n-256": ("timm/ViT-SO400M-16-SigLIP-i18n-256",),
    "ViT-SO400M-16-SigLIP2-256": ("timm/ViT-SO400M-16-SigLIP2-256",),
    "ViT-SO400M-16-SigLIP2-384": ("timm/ViT-SO400M-16-SigLIP2-384",),
    "ViT-SO400M-16-SigLIP2-512": ("timm/ViT-SO400M-16-SigLIP2-512",),
    "ViT-bigG-14-CLIPA-336": ("UCSC-VLAA/ViT-bigG-14-CLIPA-336-datacomp1B",),
    "ViT-bigG-14-CLIPA": ("UCSC-VLAA/ViT-bigG-14-CLIPA-datacomp1B",),
    "ViT-g-14": ("laion/CLIP-ViT-g-14-laion2B-s34B-b88K",),
    "ViT-gopt-16-SigLIP2-256": ("timm/ViT-gopt-16-SigLIP2-256",),
    "ViT-gopt-16-SigLIP2-384": ("timm/ViT-gopt-16-SigLIP2-384",),
    "ViTamin-B-LTT": ("jienengchen/ViTamin-B-LTT",),
    "ViTamin-B": ("jienengchen/ViTamin-B",),
    "ViTamin-L-256": ("jienengchen/ViTamin-L-256px",),
    "ViTamin-L-336": ("jienengchen/ViTamin-L-336px",),
    "ViTamin-L-384": ("jienengchen/ViTamin-L-384px",),
    "ViTamin-L": ("jienengchen/ViTamin-L-224px",),
    "ViTamin-L2-256": ("jienengchen/ViTamin-L2-256px",),
    "ViTamin-L2-336": ("jienengchen/ViTamin-L2-336px",),
    "ViTamin-L2-384": ("jienengchen/ViTamin-L2-384px",),
    "ViTamin-L2": ("jienengchen/ViTamin-L2-224px",),
    "ViTamin-S-LTT": ("jienengchen/ViTamin-S-LTT",),
    "ViTamin-S": ("jienengchen/ViTamin-S",),
    "ViTamin-XL-256": ("jienengchen/ViTamin-XL-256px",),
    "ViTamin-XL-336": ("jienengchen/ViTamin-XL-336px",),
    "nllb-clip-base-siglip": (
        "visheratin/nllb-clip-base-siglip",
        "visheratin/nllb-siglip-mrl-base",
    ),
    "nllb-clip-base": ("visheratin/nllb-clip-base-oc",),
    "nllb-clip-large-siglip": (
        "visheratin/nllb-clip-large-siglip",
        "visheratin/nllb-siglip-mrl-large",
    ),
    "nllb-clip-large": ("visheratin/nllb-clip-large-oc",),
    "roberta-ViT-B-32": ("laion/CLIP-ViT-B-32-roberta-base-laion2B-s12B-b32k",),
    "xlm-roberta-base-ViT-B-32": ("laion/CLIP-ViT-B-32-xlm-roberta-base-laion5B-s13B-b90k",),
    "xlm-roberta-large-ViT-H-14": (
        "laion/CLIP-ViT-H-14-frozen-xlm-roberta-large-laion5B-s13B-b90k",
    ),
}


def model_of(name: str) -> str:
    """The name of the model JSON of an id of the hub; empty if there is none.

    >>> model_of("laion/CLIP-ViT-B-16-laion2B-s34B-b88K")
    'ViT-B-16'
    """
    return next((model for model, ids in IDS.items() if name in ids), "")
