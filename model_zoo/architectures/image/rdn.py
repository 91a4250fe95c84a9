"""A residual dense network that enlarges an image (Zhang et al., CVPR 2018, arXiv:1802.08797), as `image-super-resolution` of
idealo builds it.

Modules have the names of the layers of the published Keras model, so that its weights are read by name.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["ResidualDenseNetwork"]

CHANNELS = 3
WHITE = 255.0


class ResidualDenseNetwork(nn.Module):
    """Convolutions with zeros beyond the edge. The last but one writes as many channels as a pixel becomes values; its pixels are
    repeated, and the last one reads each place with its neighbours."""

    def __init__(self, blocks: int, layers: int, growth: int, features: int, scale: int) -> None:
        """Args:
        blocks: residual dense blocks (D).
        layers: convolutions of a block (C).
        growth: channels that each of them adds (G).
        features: channels between blocks (G0).
        scale: how many times longer each side becomes.
        """
        super().__init__()
        self.blocks, self.layers, self.scale = blocks, layers, scale

        def convolution(name: str, inputs: int, outputs: int, side: int) -> None:
            self.add_module(name, nn.Conv2d(inputs, outputs, side, padding=side // 2))

        convolution("F_m1", CHANNELS, features, 3)
        convolution("F_0", features, features, 3)
        for block in range(1, blocks + 1):
            for layer in range(1, layers + 1):
                convolution(f"F_{block}_{layer}", features + (layer - 1) * growth, growth, 3)
            convolution(f"LFF_{block}", features + layers * growth, features, 1)
        convolution("GFF_1", blocks * features, features, 1)
        convolution("GFF_2", features, features, 3)
        convolution("UPN1", features, 64, 5)
        convolution("UPN2", 64, 32, 3)
        convolution("UPN3", 32, CHANNELS * scale * scale, 3)
        convolution("SR", CHANNELS * scale * scale, CHANNELS, 3)

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 (B, H, W, 3) → uint8 (B, H * scale, W * scale, 3)."""
        layer = self.get_submodule
        image = pixels.permute(0, 3, 1, 2).to(self.get_parameter("F_m1.weight").dtype) / WHITE
        shallow = layer("F_m1")(image)
        x = layer("F_0")(shallow)
        outputs: list[Tensor] = []
        for block in range(1, self.blocks + 1):
            dense = x
            for number in range(1, self.layers + 1):
                dense = torch.cat([dense, functional.relu(layer(f"F_{block}_{number}")(dense))], dim=1)
            x = layer(f"LFF_{block}")(dense) + x
            outputs.append(x)
        x = layer("GFF_2")(layer("GFF_1")(torch.cat(outputs, dim=1))) + shallow
        x = functional.relu(layer("UPN2")(functional.relu(layer("UPN1")(x))))
        larger = functional.interpolate(layer("UPN3")(x), scale_factor=float(self.scale), mode="nearest")
        enlarged = layer("SR")(larger)
        grey: Tensor = (enlarged.float() * WHITE + 0.5).floor().clamp(0.0, WHITE)
        return grey.to(torch.uint8).permute(0, 2, 3, 1)
