"""Pictures as tensors in [-1,1] and back, and the square of them that CLIP is shown."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def as_pixels(images: np.ndarray, device: torch.device | str = "cpu") -> Tensor:
    """uint8 pictures [B,H,W,3] -> [B,3,H,W] in [-1,1] on a device, fp32, channels last in memory
    (the faster layout on a processor).
    """
    pixels = torch.from_numpy(np.array(images)).to(device)
    return pixels.permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


def as_pictures(images: Tensor) -> np.ndarray:
    """The way back: [B,3,H,W] in [-1,1] -> uint8 pictures [B,H,W,3]."""
    return ((images.float() + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()


def middle(images: Tensor) -> Tensor:
    """The middle square of images [B,3,H,W], as CLIP is shown pictures."""
    height, width = images.shape[-2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return images[..., top : top + side, left : left + side]
