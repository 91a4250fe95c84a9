"""Tiny networks of transformers with random weights that find objects, segment images or match them with texts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers

from tests.support.references.tiny_repositories import write_page

NAMES = {0: "cat", 1: "cup", 2: "rocket"}
COMMON: dict[str, Any] = {"id2label": NAMES, "label2id": {name: number for number, name in NAMES.items()}}


def rt_detr(folder: Path) -> Path:
    """An RT-DETR: images are squeezed into a square; scores by sigmoid."""
    torch.manual_seed(7)
    backbone = transformers.RTDetrResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 16, 24, 32],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )
    config = transformers.RTDetrConfig(
        backbone_config=backbone,
        encoder_hidden_dim=32,
        encoder_in_channels=[16, 24, 32],
        encoder_layers=1,
        encoder_ffn_dim=32,
        encoder_attention_heads=2,
        d_model=32,
        num_queries=12,
        decoder_in_channels=[32, 32, 32],
        decoder_ffn_dim=32,
        decoder_layers=2,
        decoder_attention_heads=2,
        num_denoising=0,
        feat_strides=[8, 16, 32],
        **COMMON,
    )
    network = transformers.RTDetrForObjectDetection(config)
    processor = transformers.RTDetrImageProcessor(size={"height": 160, "width": 160})
    return _written(folder, network, processor, "object-detection")


def detr(folder: Path) -> Path:
    """A DETR on a ResNet: images keep their proportions; scores by softmax."""
    torch.manual_seed(0)
    backbone = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", out_features=["stage2"]
    )
    config = transformers.DetrConfig(
        use_timm_backbone=False,
        use_pretrained_backbone=False,
        backbone=None,
        backbone_config=backbone,
        num_queries=8,
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        init_std=0.5,
        **COMMON,
    )
    network = transformers.DetrForObjectDetection(config)
    processor = transformers.DetrImageProcessor(size={"shortest_edge": 160, "longest_edge": 224})
    return _written(folder, network, processor, "object-detection")


def yolos(folder: Path) -> Path:
    """A YOLOS: images keep their proportions, in multiples of 16 pixels; scores by softmax."""
    torch.manual_seed(9)
    config = transformers.YolosConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=37,
        image_size=[160, 224],
        patch_size=16,
        num_detection_tokens=8,
        initializer_range=0.3,
        **COMMON,
    )
    network = transformers.YolosForObjectDetection(config)
    with torch.no_grad():  # they begin as zeros, so that all boxes would be one
        network.vit.embeddings.detection_tokens.normal_(std=2.0)
    processor = transformers.YolosImageProcessor(size={"shortest_edge": 170, "longest_edge": 240})
    return _written(folder, network, processor, "object-detection")


def segformer(folder: Path) -> Path:
    """A SegFormer: logits of a quarter of the image's size."""
    torch.manual_seed(11)
    config = transformers.SegformerConfig(
        depths=[1, 1, 1, 1],
        hidden_sizes=[8, 16, 24, 32],
        num_attention_heads=[1, 1, 2, 2],
        decoder_hidden_size=32,
        initializer_range=0.3,
        **COMMON,
    )
    network = transformers.SegformerForSemanticSegmentation(config)
    processor = transformers.SegformerImageProcessor(size={"height": 128, "width": 128})
    return _written(folder, network, processor, "image-segmentation")


def beit(folder: Path) -> Path:
    """A BEiT with UPerNet's decoder."""
    torch.manual_seed(12)
    config = transformers.BeitConfig(
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=37,
        image_size=128,
        patch_size=16,
        out_indices=[1, 2, 3, 4],
        pool_scales=[1, 2],
        use_auxiliary_head=False,
        use_absolute_position_embeddings=True,
        initializer_range=0.3,
        **COMMON,
    )
    network = transformers.BeitForSemanticSegmentation(config)
    processor = transformers.BeitImageProcessor(size={"height": 128, "width": 128}, do_center_crop=False)
    return _written(folder, network, processor, "image-segmentation")


def vit_encoder(folder: Path) -> Path:
    """A ViT without a head, with its pooler."""
    torch.manual_seed(13)
    config = transformers.ViTConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=37,
        image_size=160,
        patch_size=32,
        initializer_range=0.3,
    )
    processor = transformers.ViTImageProcessor(size={"height": 160, "width": 160})
    return _written(folder, transformers.ViTModel(config), processor, "image-feature-extraction")


def dinov2_encoder(folder: Path) -> Path:
    """A DINOv2, whose pooled output is that of its first token."""
    torch.manual_seed(14)
    config = transformers.Dinov2Config(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=70, patch_size=14, initializer_range=0.3
    )
    processor = transformers.BitImageProcessor(
        size={"shortest_edge": 80}, crop_size={"height": 70, "width": 70}, resample=3
    )
    return _written(folder, transformers.Dinov2Model(config), processor, "image-feature-extraction")


def resnet_encoder(folder: Path) -> Path:
    """A ResNet without a head, whose pooled output is a map of one place."""
    torch.manual_seed(15)
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
    processor = transformers.ConvNextImageProcessor(size={"shortest_edge": 64}, crop_pct=0.875)
    return _written(folder, transformers.ResNetModel(config), processor, "image-feature-extraction")


ENCODERS: dict[str, Callable[[Path], Path]] = {
    "vit_encoder": vit_encoder,
    "dinov2_encoder": dinov2_encoder,
    "resnet_encoder": resnet_encoder,
}
SEGMENTERS: dict[str, Callable[[Path], Path]] = {"segformer": segformer, "beit": beit}
DETECTORS: dict[str, Callable[[Path], Path]] = {"rt_detr": rt_detr, "detr": detr, "yolos": yolos}


def _written(folder: Path, network: Any, processor: Any, task: str) -> Path:
    network.eval().save_pretrained(folder)
    processor.save_pretrained(folder)
    write_page(folder, task)
    return folder
