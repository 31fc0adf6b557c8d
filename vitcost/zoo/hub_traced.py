"""Well-known ids of the Hugging Face hub that are not plain ViTs: they are traced, and have no
formula.

A row is the ``model_type``, the class in ``architectures``, the keys of the ``config.json``, their
source, and a reference for the number of parameters of the built module. A key that a row leaves
out has the default of transformers' config class.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

__all__ = ["TRACED", "UNTRACED", "Refused", "Row"]


class Row(NamedTuple):
    """The contents of a ``config.json``, without keys that have their defaults.

    ``held`` is the reference for the number of parameters: a model with as many (``timm NAME``, or
    ``hub ID`` for another row), with ``+ 12 - 3: why`` for how many more and fewer; or a published
    number, rounded (``28.8 M``), and its page. ``inputs`` are the inputs that the id's processor
    makes, for a config without their sizes.
    """

    kind: str
    architecture: str
    keys: Mapping[str, Any]
    source: str
    held: str
    inputs: tuple[str, ...] = ()


# the scripts that made the checkpoints on the hub, inside ``src/transformers/models``
_SCRIPTS: Mapping[str, tuple[str, str]] = {
    "swin": ("swin/convert_swin_timm_to_pytorch.py", "001f85b38fb4"),
    "swinv2": ("swinv2/convert_swinv2_timm_to_pytorch.py", "0d7e95d96b4e"),
    "convnext": ("convnext/convert_convnext_to_pytorch.py", "010654337d6b"),
    "convnextv2": ("convnextv2/convert_convnextv2_to_pytorch.py", "09cb93d88904"),
    "resnet": ("resnet/convert_resnet_to_pytorch.py", "04ae75715f2c"),
    "regnet": ("regnet/convert_regnet_to_pytorch.py", "00e12e7c5459"),
    "bit": ("bit/convert_bit_to_pytorch.py", "05879ae75438"),
    "mobilenet": ("mobilenet_v2/convert_original_tf_checkpoint_to_pytorch.py", "089cbd24ae6f"),
    "mobilevit": ("mobilevit/convert_mlcvnets_to_pytorch.py", "01080c629600"),
    "mobilevitv2": ("mobilevitv2/convert_mlcvnets_to_pytorch.py", "134efbaccad3"),
    "levit": ("levit/convert_levit_timm_to_pytorch.py", "003e3d4f3d19"),
    "cvt": ("cvt/convert_cvt_original_pytorch_checkpoint_to_pytorch.py", "0c654085fb6a"),
    "efficientnet": ("efficientnet/convert_efficientnet_to_pytorch.py", "09cb93d88904"),
    "pvt": ("pvt/convert_pvt_to_pytorch.py", "001f85b38fb4"),
    "pvtv2": ("pvt_v2/convert_pvt_v2_to_pytorch.py", "09cb93d88904"),
    "poolformer": ("poolformer/convert_poolformer_original_to_pytorch.py", "09cb93d88904"),
    "hiera": ("hiera/convert_hiera_to_hf.py", "0d7e95d96b4e"),
    "dinov3": ("dinov3_convnext/convert_dinov3_convnext_to_hf.py", "13529f19ad08"),
    "segformer": ("segformer/convert_segformer_original_to_pytorch.py", "03fed90423ea"),
    "dpt": ("dpt/convert_dpt_to_pytorch.py", "09cb93d88904"),
    "depth_anything": ("depth_anything/convert_depth_anything_to_hf.py", "13d23e06f715"),
    "videomae": ("videomae/convert_videomae_to_pytorch.py", "01080c629600"),
    "vivit": ("vivit/convert_vivit_flax_to_pytorch.py", "00ca929e5d3b"),
    "timesformer": ("timesformer/convert_timesformer_to_pytorch.py", "01080c629600"),
    "siglip2": ("siglip2/convert_siglip2_to_hf.py", "0c85c9ae42dc"),
    "sam": ("sam/convert_sam_to_hf.py", "09cb93d88904"),
    "detr": ("detr/convert_detr_to_pytorch.py", "09cb93d88904"),
    "conditional": (
        "conditional_detr/convert_conditional_detr_original_pytorch_checkpoint_to_pytorch.py",
        "09cb93d88904",
    ),
    "deformable": ("deformable_detr/convert_deformable_detr_to_pytorch.py", "07ae0e5292f9"),
    "table": ("table_transformer/convert_table_transformer_to_hf.py", "092bd78fbc85"),
    "yolos": ("yolos/convert_yolos_to_pytorch.py", "01080c629600"),
    "owlvit": ("owlvit/convert_owlvit_original_flax_to_hf.py", "01080c629600"),
    "clipseg": ("clipseg/convert_clipseg_original_pytorch_to_hf.py", "061ce9f036e2"),
    "groupvit": ("groupvit/convert_groupvit_nvlab_to_hf.py", "01080c629600"),
    "focalnet": ("focalnet/convert_focalnet_to_hf_format.py", "0173d4fa7e41"),
    "upernet_convnext": ("upernet/convert_convnext_upernet_to_pytorch.py", "09c76bea234e"),
    "upernet_swin": ("upernet/convert_swin_upernet_to_pytorch.py", "09cb93d88904"),
    "glpn": ("glpn/convert_glpn_to_pytorch.py", "1001bb00bfee"),
    "vitmatte": ("vitmatte/convert_vitmatte_to_hf.py", "05e03756e0a2"),
    "vitpose": ("vitpose/convert_vitpose_to_hf.py", "027100df422c"),
    "ijepa": ("ijepa/convert_ijepa_to_hf.py", "15ea02a2add1"),
    "rt_detr": ("rt_detr/convert_rt_detr_original_pytorch_checkpoint_to_hf.py", "09cb93d88904"),
    "d_fine": ("d_fine/convert_d_fine_original_pytorch_checkpoint_to_hf.py", "1e98d0019e71"),
    "trocr": ("trocr/convert_trocr_unilm_to_pytorch.py", "15ea02a2add1"),
    "donut": ("donut/convert_donut_to_pytorch.py", "0a1c659ae896"),
    "vjepa2": ("vjepa2/convert_vjepa2_to_hf.py", "0354e0c76e84"),
    "superpoint": ("superpoint/convert_superpoint_to_pytorch.py", "0239147b4d57"),
}


def _at(name: str) -> str:
    """The script for a kind of checkpoints, in transformers' repository."""
    path, commit = _SCRIPTS[name]
    return f"huggingface/transformers, models/{path} at {commit}"


def _image(height: int, width: int | None = None) -> tuple[str, ...]:
    return (f"pixel_values=3x{height}x{width or height}",)


_HEADS = {96: [3, 6, 12, 24], 128: [4, 8, 16, 32], 192: [6, 12, 24, 48]}


def _swin(twin: str, h: int, window: int, img: int, **keys: Any) -> Row:
    depths = [2, 2, 6 if "tiny" in twin else 18, 2]
    size: dict[str, Any] = {"embed_dim": h, "depths": depths, "num_heads": _HEADS[h]}
    size |= {"window_size": window, "image_size": img}
    kind = "swinv2" if twin.startswith("swinv2") else "swin"
    return _classifier(kind, kind.capitalize(), twin, **size, **keys)


def _stages(h: int, depths: list[int]) -> dict[str, Any]:
    return {"hidden_sizes": [h, 2 * h, 4 * h, 8 * h], "depths": depths}


_TINY, _DEEP = [3, 3, 9, 3], [3, 3, 27, 3]


def _convnext(twin: str, h: int, depths: list[int], img: int = 224, labels: int = 1000) -> Row:
    keys = {**_stages(h, depths), "image_size": img, "num_labels": labels}
    second = twin.startswith("convnextv2")
    kind, cls = ("convnextv2", "ConvNextV2") if second else ("convnext", "ConvNext")
    return _classifier(kind, cls, twin, _image(img), **keys)


def _dinov3(twin: str, h: int, depths: list[int]) -> Row:
    return Row(
        "dinov3_convnext", "DINOv3ConvNextModel", _stages(h, depths), _at("dinov3"), f"timm {twin}"
    )


def _classifier(kind: str, cls: str, twin: str, inputs: tuple[str, ...] = (), **keys: Any) -> Row:
    """A classifier that timm also has, by default of 1,000 classes."""
    keys = {"num_labels": 1000, **keys}
    return Row(kind, f"{cls}ForImageClassification", keys, _at(kind), f"timm {twin}", inputs)


def _resnet(twin: str, depths: list[int], basic: bool = False) -> Row:
    basics = {"hidden_sizes": [64, 128, 256, 512], "layer_type": "basic"} if basic else {}
    return _classifier("resnet", "ResNet", twin, _image(224), depths=depths, **basics)


def _regnet(twin: str, depths: list[int], sizes: list[int], group: int, kind: str) -> Row:
    size = {"depths": depths, "hidden_sizes": sizes, "groups_width": group, "layer_type": kind}
    return _classifier("regnet", "RegNet", twin, _image(224), **size)


def _mobilevit(twin: str, sizes: list[int], neck: list[int], **keys: Any) -> Row:
    size = {"hidden_sizes": sizes, "neck_hidden_sizes": neck, **keys}
    return _classifier("mobilevit", "MobileViT", twin, **size)


def _efficientnet(
    twin: str, h: int, scale: tuple[float, float], img: int, drop: float, padding: list[int]
) -> Row:
    size: dict[str, Any] = dict(zip(("width_coefficient", "depth_coefficient"), scale, strict=True))
    keys: dict[str, Any] = {"image_size": img, "dropout_rate": drop, "depthwise_padding": padding}
    return _classifier("efficientnet", "EfficientNet", twin, hidden_dim=h, **size, **keys)


def _levit(twin: str, sizes: list[int], heads: list[int], depths: list[int], key: int) -> Row:
    keys: dict[str, Any] = {"hidden_sizes": sizes, "num_attention_heads": heads}
    keys |= {"depths": depths, "key_dim": [key] * 3, "num_labels": 1000}
    return Row(
        "levit", "LevitForImageClassificationWithTeacher", keys, _at("levit"), f"timm {twin}"
    )


def _cvt(depth: list[int], held: str) -> Row:
    keys = {"depth": depth, "num_labels": 1000}
    return Row("cvt", "CvtForImageClassification", keys, _at("cvt"), held, _image(224))


def _pvt_v2(twin: str, sizes: list[int], depths: list[int]) -> Row:
    keys = {"hidden_sizes": sizes, "depths": depths, "num_labels": 1000}
    source = f"Wang et al. 2022, table 1; the ids: {_at('pvtv2')}"
    return Row("pvt_v2", "PvtV2ForImageClassification", keys, source, f"timm {twin}")


def _poolformer(twin: str, sizes: list[int], depths: list[int], scale: float = 1e-5) -> Row:
    keys: dict[str, Any] = {
        "hidden_sizes": sizes,
        "depths": depths,
        "layer_scale_init_value": scale,
    }
    return _classifier("poolformer", "PoolFormer", twin, _image(224), **keys)


def _hiera(twin: str, **keys: Any) -> Row:
    return _classifier("hiera", "Hiera", twin, **keys)


def _focalnet(twin: str, h: int, depths: list[int], levels: int = 2) -> Row:
    size: dict[str, Any] = {"embed_dim": h, "depths": depths, "focal_levels": [levels] * 4}
    return _classifier("focalnet", "FocalNet", twin, **size)


_WIDE = {"hidden_sizes": [64, 128, 320, 512]}


def _segformer(held: str, decoder: int, **keys: Any) -> Row:
    keys = {**keys, "decoder_hidden_size": decoder, "num_labels": 150}
    cls = "SegformerForSemanticSegmentation"
    return Row("segformer", cls, keys, _at("segformer"), held, _image(512))


def _backbone(kind: str, **keys: Any) -> dict[str, Any]:
    return {"model_type": kind, "out_features": ["stage1", "stage2", "stage3", "stage4"], **keys}


def _upernet(held: str, source: str, backbone: Mapping[str, Any]) -> Row:
    keys = {"backbone_config": backbone, "auxiliary_in_channels": 384, "num_labels": 150}
    return Row("upernet", "UperNetForSemanticSegmentation", keys, source, held, _image(512))


def _depth_anything(held: str, h: int, L: int, a: int, fusion: int, neck: list[int]) -> Row:
    backbone = {"model_type": "dinov2", "hidden_size": h, "num_hidden_layers": L}
    backbone |= {"num_attention_heads": a, "image_size": 518, "patch_size": 14}
    backbone |= {"out_indices": [L - 3, L - 2, L - 1, L], "reshape_hidden_states": False}
    keys = {"backbone_config": backbone, "reassemble_hidden_size": h, "fusion_hidden_size": fusion}
    keys |= {"neck_hidden_sizes": neck}
    cls = "DepthAnythingForDepthEstimation"
    return Row("depth_anything", cls, keys, _at("depth_anything"), held, _image(518))


def _videomae(held: str, labels: int, **keys: Any) -> Row:
    cls = "VideoMAEForVideoClassification"
    return Row("videomae", cls, {**keys, "num_labels": labels}, _at("videomae"), held)


# a ViT of videos against timm's of images, both with 768 channels: a patch of two frames has twice
# the weights, and each place in space and time has a row in the position table
_TUBES = 2 * 16 * 16 * 3 * 768 - 16 * 16 * 3 * 768
# the second attention of each block, over patches at one place in space: its projections, its norm,
# and a linear layer
_IN_TIME = 12 * (5 * 768 * 768 + 7 * 768)


def _timesformer(labels: int) -> Row:
    held = f"timm vit_base_patch16_224 + {_IN_TIME} + {8 * 768}: attention in time, 8 frames"
    keys = {"num_labels": labels}
    return Row("timesformer", "TimesformerForVideoClassification", keys, _at("timesformer"), held)


# SAM's prompt encoder (6,220), mask decoder (4,058,340) and the frequencies of positions (256)
_PROMPTED = "4064816: prompt encoder, mask decoder, positions"


def _sam(twin: str, h: int, L: int, a: int, whole: list[int]) -> Row:
    keys: dict[str, Any] = {"hidden_size": h, "num_hidden_layers": L}
    keys |= {"num_attention_heads": a, "global_attn_indexes": whole}
    held = f"timm {twin} + {_PROMPTED}"
    return Row("sam", "SamModel", {"vision_config": keys}, _at("sam"), held, _image(1024))


def _detr(kind: str, cls: str, source: str, held: str, **keys: Any) -> Row:
    # the processor makes the shorter side 800, the longer at most 1333
    return Row(kind, cls, {**keys, "num_labels": 91}, source, held, _image(800, 1333))


def _tables(held: str, queries: int, labels: int, side: int) -> Row:
    keys = {"backbone": "resnet18", "num_queries": queries, "num_labels": labels}
    cls = "TableTransformerForObjectDetection"
    return Row("table-transformer", cls, keys, _at("table"), held, _image(side))


def _yolos(held: str, **keys: Any) -> Row:
    return Row("yolos", "YolosForObjectDetection", {**keys, "num_labels": 91}, _at("yolos"), held)


def _rt_detr(held: str, backbone: Mapping[str, Any], **keys: Any) -> Row:
    named = {"model_type": "rt_detr_resnet", "out_features": ["stage2", "stage3", "stage4"]}
    keys = {"backbone_config": {**named, **backbone}, "num_labels": 80, **keys}
    return Row("rt_detr", "RTDetrForObjectDetection", keys, _at("rt_detr"), held, _image(640))


def _d_fine(held: str, stem: list[int], widths: list[list[int]], **keys: Any) -> Row:
    """``widths`` are the channels into, inside and out of the stages, and their blocks and
    layers."""
    into, inside, out, blocks, layers = widths
    backbone = {
        "model_type": "hgnet_v2", "out_features": ["stage2", "stage3", "stage4"],
        "hidden_sizes": out, "embedding_size": 32, "layer_type": "basic", "stem_channels": stem,
        "stage_in_channels": into, "stage_mid_channels": inside, "stage_out_channels": out,
        "stage_num_blocks": blocks, "stage_downsample": [False, True, True, True],
        "stage_light_block": [False, False, True, True], "stage_kernel_size": [3, 3, 5, 5],
        "stage_numb_of_layers": layers,
        "use_learnable_affine_block": keys.pop("use_learnable_affine_block", False),
    }  # fmt: skip
    keys = {"backbone_config": backbone, "encoder_in_channels": out[1:], "num_labels": 80, **keys}
    keys |= {"decoder_n_points": [3, 6, 3]}
    return Row("d_fine", "DFineForObjectDetection", keys, _at("d_fine"), held, _image(640))


def _trocr(held: str, h: int, L: int, a: int) -> Row:
    encoder = {"model_type": "vit", "image_size": 384, "qkv_bias": False, "hidden_size": h}
    encoder |= {"num_hidden_layers": L, "num_attention_heads": a, "intermediate_size": 4 * h}
    decoder = {"model_type": "trocr", "is_decoder": True, "add_cross_attention": True}
    keys = {"encoder": encoder, "decoder": {**decoder, "cross_attention_hidden_size": h}}
    inputs = (*_image(384), "decoder_input_ids=512:int64")
    return Row(
        "vision-encoder-decoder", "VisionEncoderDecoderModel", keys, _at("trocr"), held, inputs
    )


# CLIPSeg's decoder: three layers of 64 channels with an MLP of 2048, their projections from 768
# channels, the two products with the 512 features of a text, and a last convolution of 16 x 16
# pixels
_SEGMENTS = 3 * (4 * (64 * 64 + 64) + 2 * 64 * 2048 + 2048 + 64 + 4 * 64)
_SEGMENTS += 3 * (768 * 64 + 64) + 2 * (512 * 64 + 64) + 16 * 16 * 64 + 1
# OWL-ViT against CLIP: more image positions and fewer text positions; heads for classes and boxes,
# and a norm
_PLACES, _WORDS = (24 * 24 - 7 * 7) * 768, (77 - 16) * 512
_BOXES = 768 * 512 + 512 + 2 * (768 + 1) + 2 * (768 * 768 + 768) + 768 * 4 + 4 + 2 * 768
# GLPN's decoder in place of SegFormer's, on the same encoder: both read maps of four widths
_FUSED = 3 * (128 * 64 * 9 + 64 + 128 + 64 * 32 * 9 + 32 + 64 + 32 * 2 * 9 + 2)
_FUSED += (512 + 320 + 128 + 3) * 64 + 64 * 64 * 9 + 64 + 64 * 9 + 1
_MIXED = (64 + 128 + 320 + 512 + 4) * 768 + 4 * 768 * 768 + 2 * 768 + 768 * 150 + 150


TRACED: Mapping[str, Row] = MappingProxyType({
    "microsoft/swin-tiny-patch4-window7-224": _swin("swin_tiny_patch4_window7_224", 96, 7, 224),
    "microsoft/swin-small-patch4-window7-224": _swin("swin_small_patch4_window7_224", 96, 7, 224),
    "microsoft/swin-base-patch4-window7-224": _swin("swin_base_patch4_window7_224", 128, 7, 224),
    "microsoft/swin-base-patch4-window7-224-in22k": _swin(
        "swin_base_patch4_window7_224", 128, 7, 224, num_labels=21841
    ),
    "microsoft/swin-base-patch4-window12-384": _swin(
        "swin_base_patch4_window12_384", 128, 12, 384
    ),
    "microsoft/swin-large-patch4-window7-224": _swin("swin_large_patch4_window7_224", 192, 7, 224),
    "microsoft/swinv2-tiny-patch4-window8-256": _swin("swinv2_tiny_window8_256", 96, 8, 256),
    "microsoft/swinv2-small-patch4-window8-256": _swin("swinv2_small_window8_256", 96, 8, 256),
    "microsoft/swinv2-base-patch4-window8-256": _swin("swinv2_base_window8_256", 128, 8, 256),
    "facebook/convnext-tiny-224": _convnext("convnext_tiny", 96, _TINY),
    "facebook/convnext-small-224": _convnext("convnext_small", 96, _DEEP),
    "facebook/convnext-base-224": _convnext("convnext_base", 128, _DEEP),
    "facebook/convnext-base-384": _convnext("convnext_base", 128, _DEEP, 384),
    "facebook/convnext-base-224-22k": _convnext("convnext_base", 128, _DEEP, 224, 21841),
    "facebook/convnext-large-224": _convnext("convnext_large", 192, _DEEP),
    "facebook/convnextv2-atto-1k-224": _convnext("convnextv2_atto", 40, [2, 2, 6, 2]),
    "facebook/convnextv2-tiny-1k-224": _convnext("convnextv2_tiny", 96, _TINY),
    "facebook/convnextv2-base-22k-224": _convnext("convnextv2_base", 128, _DEEP),
    "facebook/dinov3-convnext-tiny-pretrain-lvd1689m": _dinov3("convnext_tiny", 96, _TINY),
    "facebook/dinov3-convnext-small-pretrain-lvd1689m": _dinov3("convnext_small", 96, _DEEP),
    "facebook/dinov3-convnext-base-pretrain-lvd1689m": _dinov3("convnext_base", 128, _DEEP),
    "facebook/dinov3-convnext-large-pretrain-lvd1689m": _dinov3("convnext_large", 192, _DEEP),
    "microsoft/resnet-18": _resnet("resnet18", [2, 2, 2, 2], basic=True),
    "microsoft/resnet-34": _resnet("resnet34", [3, 4, 6, 3], basic=True),
    "microsoft/resnet-50": _resnet("resnet50", [3, 4, 6, 3]),
    "microsoft/resnet-101": _resnet("resnet101", [3, 4, 23, 3]),
    "microsoft/resnet-152": _resnet("resnet152", [3, 8, 36, 3]),
    "facebook/regnet-x-040": _regnet(
        "regnetx_040", [2, 5, 14, 2], [80, 240, 560, 1360], 40, "x"
    ),
    "facebook/regnet-y-040": _regnet(
        "regnety_040", [2, 6, 12, 2], [128, 192, 512, 1088], 64, "y"
    ),
    "google/bit-50": Row(
        "bit", "BitForImageClassification", {"num_labels": 1000}, _at("bit"),
        "timm resnetv2_50x1_bit", _image(448),
    ),
    "google/mobilenet_v2_1.0_224": Row(
        "mobilenet_v2", "MobileNetV2ForImageClassification", {"num_labels": 1001}, _at("mobilenet"),
        "timm mobilenetv2_100",
    ),
    "apple/mobilevit-small": _mobilevit(
        "mobilevit_s", [144, 192, 240], [16, 32, 64, 96, 128, 160, 640]
    ),
    "apple/mobilevit-x-small": _mobilevit(
        "mobilevit_xs", [96, 120, 144], [16, 32, 48, 64, 80, 96, 384]
    ),
    "apple/mobilevit-xx-small": _mobilevit(
        "mobilevit_xxs", [64, 80, 96], [16, 16, 24, 48, 64, 80, 320],
        hidden_dropout_prob=0.05, expand_ratio=2.0,
    ),
    "apple/mobilevitv2-1.0-imagenet1k-256": Row(
        "mobilevitv2", "MobileViTV2ForImageClassification", {"num_labels": 1000},
        _at("mobilevitv2"), "timm mobilevitv2_100",
    ),
    "google/efficientnet-b0": _efficientnet("efficientnet_b0", 1280, (1.0, 1.0), 224, 0.2, []),
    "google/efficientnet-b4": _efficientnet("efficientnet_b4", 1792, (1.4, 1.8), 380, 0.4, [6]),
    "facebook/levit-128S": _levit("levit_128s", [128, 256, 384], [4, 6, 8], [2, 3, 4], 16),
    "facebook/levit-192": _levit("levit_192", [192, 288, 384], [3, 5, 6], [4, 4, 4], 32),
    "facebook/levit-384": _levit("levit_384", [384, 512, 768], [6, 9, 12], [4, 4, 4], 32),
    "microsoft/cvt-13": _cvt([1, 2, 10], "20 M, Wu et al. 2021"),
    "microsoft/cvt-21": _cvt([1, 4, 16], "32 M, Wu et al. 2021"),
    "Zetatech/pvt-tiny-224": Row(
        "pvt", "PvtForImageClassification", {"num_labels": 1000}, _at("pvt"),
        "13.2 M, Wang et al. 2021",
    ),
    "OpenGVLab/pvt_v2_b0": _pvt_v2("pvt_v2_b0", [32, 64, 160, 256], [2, 2, 2, 2]),
    "OpenGVLab/pvt_v2_b2": _pvt_v2("pvt_v2_b2", [64, 128, 320, 512], [3, 4, 6, 3]),
    "sail/poolformer_s12": _poolformer("poolformer_s12", [64, 128, 320, 512], [2, 2, 6, 2]),
    "sail/poolformer_s24": _poolformer("poolformer_s24", [64, 128, 320, 512], [4, 4, 12, 4]),
    "sail/poolformer_m36": _poolformer(
        "poolformer_m36", [96, 192, 384, 768], [6, 6, 18, 6], 1e-6
    ),
    "facebook/hiera-tiny-224-in1k-hf": _hiera("hiera_tiny_224", depths=[1, 2, 7, 2]),
    "facebook/hiera-base-224-in1k-hf": _hiera("hiera_base_224"),
    "facebook/hiera-large-224-in1k-hf": _hiera(
        "hiera_large_224", embed_dim=144, num_heads=[2, 4, 8, 16], depths=[2, 6, 36, 4]
    ),
    "microsoft/focalnet-tiny": _focalnet("focalnet_tiny_srf", 96, [2, 2, 6, 2]),
    "microsoft/focalnet-tiny-lrf": _focalnet("focalnet_tiny_lrf", 96, [2, 2, 6, 2], 3),
    "microsoft/focalnet-base": _focalnet("focalnet_base_srf", 128, [2, 2, 18, 2]),
    "nvidia/segformer-b0-finetuned-ade-512-512": _segformer(
        "3.8 M, Xie et al. 2021, table 1", 256
    ),
    "nvidia/segformer-b1-finetuned-ade-512-512": _segformer(
        "13.7 M, Xie et al. 2021, table 1", 256, **_WIDE
    ),
    "nvidia/segformer-b2-finetuned-ade-512-512": _segformer(
        "27.5 M, Xie et al. 2021, table 1", 768, **_WIDE, depths=[3, 4, 6, 3]
    ),
    "nvidia/segformer-b4-finetuned-ade-512-512": _segformer(
        "64.1 M, Xie et al. 2021, table 1", 768, **_WIDE, depths=[3, 8, 27, 3]
    ),
    "openmmlab/upernet-swin-tiny": _upernet(
        "60 M, Liu et al. 2021, table 3", _at("upernet_swin"), _backbone("swin")
    ),
    "openmmlab/upernet-convnext-tiny": _upernet(
        "60 M, Liu et al. 2022, table 4", _at("upernet_convnext"),
        _backbone("convnext", **_stages(96, _TINY)),
    ),
    "Intel/dpt-large": Row(
        "dpt", "DPTForDepthEstimation",
        {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24,
         "num_attention_heads": 16, "backbone_out_indices": [5, 11, 17, 23],
         "neck_hidden_sizes": [256, 512, 1024, 1024]},
        _at("dpt"), "343 M, Ranftl et al. 2021, inference speed",
    ),
    "LiheYoung/depth-anything-small-hf": _depth_anything(
        "24.8 M, LiheYoung/Depth-Anything, README.md", 384, 12, 6, 64, [48, 96, 192, 384]
    ),
    "LiheYoung/depth-anything-base-hf": _depth_anything(
        "97.5 M, LiheYoung/Depth-Anything, README.md", 768, 12, 12, 128, [96, 192, 384, 768]
    ),
    "LiheYoung/depth-anything-large-hf": _depth_anything(
        "335.3 M, LiheYoung/Depth-Anything, README.md", 1024, 24, 16, 256, [256, 512, 1024, 1024]
    ),
    "vinvino02/glpn-nyu": Row(
        "glpn", "GLPNForDepthEstimation", {**_WIDE, "depths": [3, 8, 27, 3]}, _at("glpn"),
        f"hub nvidia/segformer-b4-finetuned-ade-512-512 + {_FUSED} - {_MIXED}: another decoder",
        _image(480, 640),
    ),
    "MCG-NJU/videomae-small-finetuned-kinetics": _videomae(
        "22 M, Tong et al. 2022", 400,
        hidden_size=384, intermediate_size=1536, num_attention_heads=16,
    ),
    "MCG-NJU/videomae-base-finetuned-kinetics": _videomae(
        f"timm vit_base_patch16_224 + {_TUBES} - {(1 + 197 + 12) * 768}: patches of two frames; "
        "no class token, table of positions, bias of keys", 400,
    ),
    "MCG-NJU/videomae-large-finetuned-kinetics": _videomae(
        "305 M, Tong et al. 2022", 400, hidden_size=1024, intermediate_size=4096,
        num_hidden_layers=24, num_attention_heads=16,
    ),
    "google/vivit-b-16x2-kinetics400": Row(
        "vivit", "VivitForVideoClassification", {"num_labels": 400}, _at("vivit"),
        f"timm vit_base_patch16_224 + {_TUBES} + {15 * 14 * 14 * 768}: patches of two frames, "
        "at 16 moments",
    ),
    "facebook/timesformer-base-finetuned-k400": _timesformer(400),
    "facebook/timesformer-base-finetuned-k600": _timesformer(600),
    "facebook/sam-vit-base": _sam("samvit_base_patch16", 768, 12, 12, [2, 5, 8, 11]),
    "facebook/sam-vit-large": _sam("samvit_large_patch16", 1024, 24, 16, [5, 11, 17, 23]),
    "facebook/sam-vit-huge": _sam("samvit_huge_patch16", 1280, 32, 16, [7, 15, 23, 31]),
    "facebook/detr-resnet-50": _detr(
        "detr", "DetrForObjectDetection", _at("detr"), "41 M, Carion et al. 2020, table 1"
    ),
    "facebook/detr-resnet-101": _detr(
        "detr", "DetrForObjectDetection", _at("detr"), "60 M, Carion et al. 2020, table 1",
        backbone="resnet101",
    ),
    "microsoft/conditional-detr-resnet-50": _detr(
        "conditional_detr", "ConditionalDetrForObjectDetection", _at("conditional"),
        "44 M, Meng et al. 2021",
    ),
    "SenseTime/deformable-detr": _detr(
        "deformable_detr", "DeformableDetrForObjectDetection", _at("deformable"),
        "40 M, Zhu et al. 2021, table 1",
    ),
    "microsoft/table-transformer-detection": _tables("28.8 M, the id's page", 15, 2, 800),
    "microsoft/table-transformer-structure-recognition": _tables(
        f"hub microsoft/table-transformer-detection + {110 * 256 + 4 * 257}: queries and labels",
        125, 6, 1000,
    ),
    "hustvl/yolos-tiny": _yolos(
        "6.5 M, Fang et al. 2021", hidden_size=192, intermediate_size=768,
        num_attention_heads=3, image_size=[800, 1333], use_mid_position_embeddings=False,
    ),
    "hustvl/yolos-small": _yolos(
        "30.7 M, Fang et al. 2021", hidden_size=384, intermediate_size=1536,
        num_attention_heads=6,
    ),
    "hustvl/yolos-base": _yolos("127 M, Fang et al. 2021", image_size=[800, 1344]),
    "PekingU/rtdetr_r18vd": _rt_detr(
        "20 M, lyuwenyu/RT-DETR, README.md",
        {"hidden_sizes": [64, 128, 256, 512], "layer_type": "basic", "depths": [2, 2, 2, 2]},
        encoder_in_channels=[128, 256, 512], hidden_expansion=0.5, decoder_layers=3,
    ),
    "PekingU/rtdetr_r50vd": _rt_detr("42 M, lyuwenyu/RT-DETR, README.md", {}),
    "PekingU/rtdetr_r101vd": _rt_detr(
        "76 M, lyuwenyu/RT-DETR, README.md", {"depths": [3, 4, 23, 3]}, encoder_ffn_dim=2048,
        encoder_hidden_dim=384, decoder_in_channels=[384, 384, 384],
    ),
    "ustc-community/dfine-small-coco": _d_fine(
        "10 M, Peterande/D-FINE, README.md", [3, 16, 16],
        [[16, 64, 256, 512], [16, 32, 64, 128], [64, 256, 512, 1024], [1, 1, 2, 1], [3] * 4],
        use_learnable_affine_block=True, decoder_layers=3, hidden_expansion=0.5, depth_mult=0.34,
    ),
    "ustc-community/dfine-large-coco": _d_fine(
        "31 M, Peterande/D-FINE, README.md", [3, 32, 48],
        [[48, 128, 512, 1024], [48, 96, 192, 384], [128, 512, 1024, 2048], [1, 1, 3, 1], [6] * 4],
    ),
    "hustvl/vitmatte-small-composition-1k": Row(
        "vitmatte", "VitMatteForImageMatting",
        {"backbone_config": {
            "model_type": "vitdet", "num_channels": 4, "image_size": 512, "hidden_size": 384,
            "num_attention_heads": 6, "use_relative_position_embeddings": True, "window_size": 14,
            "window_block_indices": [0, 1, 3, 4, 6, 7, 9, 10],
            "residual_block_indices": [2, 5, 8, 11], "out_features": ["stage4"]},
         # these are lists, as in a file: transformers adds lists to them
         "convstream_hidden_sizes": [48, 96, 192], "fusion_hidden_sizes": [256, 128, 64, 32]},
        _at("vitmatte"), "25.8 M, Yao et al. 2023", ("pixel_values=4x512x512",),
    ),
    "usyd-community/vitpose-base-simple": Row(
        "vitpose", "VitPoseForPoseEstimation",
        {"backbone_config": {"model_type": "vitpose_backbone", "out_indices": [12]},
         "num_labels": 17},
        _at("vitpose"), "86 M, Xu et al. 2022", _image(256, 192),
    ),
    "facebook/ijepa_vith14_1k": Row(
        "ijepa", "IJepaModel",
        {"patch_size": 14, "hidden_size": 1280, "num_hidden_layers": 32,
         "num_attention_heads": 16, "intermediate_size": 5120},
        _at("ijepa"), f"timm vit_huge_patch14_224 - {2 * 1280}: no class token, nor its position",
    ),
    "CIDAS/clipseg-rd64": Row(
        "clipseg", "CLIPSegForImageSegmentation", {"vision_config": {"patch_size": 16}},
        _at("clipseg"), f"hub openai/clip-vit-base-patch16 + {_SEGMENTS}: its decoder",
        (*_image(352), "input_ids=77:int64"),
    ),
    "google/owlvit-base-patch32": Row(
        "owlvit", "OwlViTForObjectDetection", {},
        "the id's config.json at dd7f3bc78606; " + _at("owlvit"),
        f"hub openai/clip-vit-base-patch32 + {_PLACES} - {_WORDS} + {_BOXES}: places, words, heads",
        (*_image(768), "input_ids=16:int64"),
    ),
    "microsoft/trocr-base-handwritten": _trocr("334 M, Li et al. 2023", 768, 12, 12),
    "microsoft/trocr-large-handwritten": _trocr("558 M, Li et al. 2023", 1024, 24, 16),
})  # fmt: skip


class Refused(NamedTuple):
    """A model that cannot be traced, and the reason."""

    row: Row
    reason: str


UNTRACED: Mapping[str, Refused] = MappingProxyType({
    "google/siglip2-base-patch16-naflex": Refused(
        Row(
            "siglip2", "Siglip2Model", {"text_config": {"vocab_size": 256000}}, _at("siglip2"), "",
            ("input_ids=64:int64", "pixel_values=256x768", "pixel_attention_mask=256:int64",
             "spatial_shapes=2:int64"),
        ),
        "it resamples its table of positions to the sides of each image, which are values of an "
        "input; google/siglip2-base-patch16-256 has as many patches",
    ),
    "magic-leap-community/superpoint": Refused(
        Row(
            "superpoint", "SuperPointForKeypointDetection", {}, _at("superpoint"), "",
            _image(480, 640),
        ),
        "its keypoints are the places above a score, so that their number depends on values",
    ),
})  # fmt: skip
