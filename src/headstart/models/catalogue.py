"""What is known of some pretrained networks without loading them: sizes and published accuracy.

The accuracy is percent of ImageNet's validation photos: torchvision's documentation for its ResNets (a plain name means
its first weights), the paper's repository for EfficientNet-Lite, timm's results/results-imagenet.csv for the others, at
the size of that table, which for some is larger than the one they were trained at. Networks that were never fitted to
ImageNet's classes have none.
"""

from __future__ import annotations

from typing import NamedTuple


class Known(NamedTuple):
    """``parameters`` without the classifier; ``imagenet``: published top-1 accuracy in percent, None where there is
    none.
    """

    parameters: int
    imagenet: float | None = None

    @property
    def megabytes(self) -> float:
        """Millions of bytes of the weights in float32."""
        return self.parameters * 4 / 1e6


STARTERS = {"starter": (1, 1, 1, 1), "starter_large": (1, 2, 2, 2)}
"""The networks that ship, and the blocks in their stages."""

KNOWN: dict[str, Known] = {
    "starter": Known(1_226_400),
    "starter_large": Known(2_776_480),
    "resnet18": Known(11_176_512, 69.8),
    "resnet34": Known(21_284_672, 73.3),
    "resnet50": Known(23_508_032, 76.1),
    "resnet101": Known(42_500_160, 77.4),
    "resnet152": Known(58_143_808, 78.3),
    "tf_efficientnet_lite0.in1k": Known(3_371_008, 75.1),
    "tf_efficientnet_lite1.in1k": Known(4_135_680, 76.7),
    "tf_efficientnet_lite2.in1k": Known(4_811_072, 77.5),
    "mobilenetv2_100.ra_in1k": Known(2_223_872, 73.0),
    "mobilenetv3_large_100.ra_in1k": Known(4_202_032, 75.8),
    "mobilenetv4_conv_medium.e500_r224_in1k": Known(8_434_512, 79.1),
    "efficientnet_b0.ra_in1k": Known(4_007_548, 77.7),
    "efficientnet_b3.ra2_in1k": Known(10_696_232, 82.2),
    "regnety_008.pycls_in1k": Known(5_494_168, 76.3),
    "regnety_016.tv2_in1k": Known(10_313_430, 80.7),
    "convnext_nano.in12k_ft_in1k": Known(14_952_560, 82.9),
    "convnext_tiny.fb_in1k": Known(27_820_128, 82.7),
    "convnext_tiny.in12k_ft_in1k": Known(27_820_128, 84.2),
    "deit_small_patch16_224.fb_in1k": Known(21_665_664, 79.8),
    "vit_tiny_patch16_224.augreg_in21k_ft_in1k": Known(5_524_416, 75.5),
    "vit_small_patch16_224.augreg_in21k_ft_in1k": Known(21_665_664, 81.4),
    "vit_small_patch14_dinov2.lvd142m": Known(22_056_192),
    "vit_base_patch14_dinov2.lvd142m": Known(86_579_712),
    "vit_small_patch16_dinov3.lvd1689m": Known(21_586_944),
    "vit_base_patch16_dinov3.lvd1689m": Known(85_641_216),
    "vit_base_patch16_siglip_224.v2_webli": Known(92_884_224),
    "vit_base_patch32_clip_224.datacompxl": Known(87_456_000),
}
"""By the names that ``backbone`` takes."""
