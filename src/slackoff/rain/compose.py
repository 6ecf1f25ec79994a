"""Background and rain layer to rainy image."""

from torch import Tensor


def add_rain(background: Tensor, rain: Tensor) -> Tensor:
    """The image model O = clip(B + R) of "Networks are Slacking Off", section 3.

    Args:
        background: B, float, (N, 3, H, W), in [0, 1].
        rain: R, float, (N, 1, H, W), in [0, 1]; achromatic, added to each channel alike.

    Returns:
        O, float, (N, 3, H, W), in [0, 1].
    """
    return (background + rain).clamp(0.0, 1.0)
