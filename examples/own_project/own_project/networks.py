"""Networks: float, (N, 3, H, W), rainy in, background out, both in [0, 1], any size."""

from torch import Tensor, nn


class OwnNetwork(nn.Module):
    """Three convolutions that estimate what the rain added."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.rain = nn.Sequential(
            nn.Conv2d(3, width, 5, padding=2),
            nn.ReLU(),
            nn.Conv2d(width, width, 5, padding=2),
            nn.ReLU(),
            nn.Conv2d(width, 3, 5, padding=2),
        )

    def forward(self, rainy: Tensor) -> Tensor:
        return rainy - self.rain(rainy)
