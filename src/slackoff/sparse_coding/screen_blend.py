"""The pixels of two layers under the screen blend, O = B + R - B * R, everything in [0, 1]."""

from torch import Tensor

_LARGEST_RAIN = 1 - 1e-3


def update_layer(observed: Tensor, other: Tensor, coded: Tensor, weight: float) -> Tensor:
    """The layer that, with the other one fixed, explains the image and lies close to what was coded of it.

    The minimiser over [0, 1], pixel by pixel, of (O - X - L + X * L)^2 + weight * (X - C)^2 over the layer X, where L
    is the other layer and C what was coded: a parabola in X, so clipping its vertex is exact. The blend is symmetric,
    and the same update is for both layers.

    Args:
        observed: O, in [0, 1].
        other: L, in [0, 1].
        coded: C, of any value.
        weight: above 0.
    """
    free = 1 - other
    return ((free * (observed - other) + weight * coded) / (free.square() + weight)).clamp(0, 1)


def unblend(observed: Tensor, rain: Tensor) -> tuple[Tensor, Tensor]:
    """The background that, with this rain, gives exactly the image, and the rain, no stronger than the image.

    Args:
        observed: O, in [0, 1].
        rain: R, in [0, 1].

    Returns:
        B = (O - R) / (1 - R) in [0, 1], and R, which is at most O and 0.999; O = B + R - B * R holds up to rounding.
    """
    rain = rain.minimum(observed).clamp(max=_LARGEST_RAIN)
    return ((observed - rain) / (1 - rain)).clamp(0, 1), rain
