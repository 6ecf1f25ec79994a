"""DDN: a chain of narrow convolutions that sees only the detail of an image and gives what to add to it."""

from typing import ClassVar, Literal

from torch import Tensor, nn

from slackoff.errors import SlackoffError, check_choices
from slackoff.networks.layers import check_positive, check_sizes, draw_weights, guided_smooth


class DDN(nn.Module):
    """Deep detail network (Fu et al., CVPR 2017).

    A guided filter splits the image into a smooth base and its detail. The detail goes through 26 convolutions of 16
    channels, all with batch normalisation; the last one gives the negative rain, which is added to the image. In each
    pair of inner layers the ReLU comes before the addition and none after it. 57,369 parameters by default, as the
    authors' script counts without the norms' averages.

    By default the authors' TensorFlow training code (in a copy of it), of which no weights are known. ``skip="long"``
    is the PyTorch reproduction by H. Yan, whose weights are public; ``norm="batch"`` with ``eps=1e-5`` is the network
    of SIRR (Wei et al., CVPR 2019). The authors' MATLAB demo filters with another radius, on a subsampled image.

    Input and output: float, (N, 3, H, W), in about [0, 1], any size; the output is not clipped.

    Training and evaluation differ by the batch normalisation, unless ``norm`` is "batch".

    Args:
        channels: feature channels.
        pairs: pairs of inner layers.
        skip: "pairwise": each pair adds to its input; "long": a plain chain, and one skip over all pairs.
        norm: "running" averages in evaluation, or always the statistics of the "batch" at hand: the output for an
            image then depends on the images beside it.
        eps: of the norms.
        momentum: the share of a new batch in the running averages; 0.01 is TensorFlow's 0.99, which is the share that
            stays. (The reproduction has 0.99, likely by mistake.)
        radius: of the guided filter's windows, in pixels.
        smoothing: the guided filter's eps, in squared units of [0, 1]. At 1 the base is nearly two box means in a row.

    Raises:
        SlackoffError: a size or a number is out of its range.
    """

    paper: ClassVar[str] = "Fu et al., DDN (CVPR 2017)"
    shared_layer: ClassVar[str] = "last.0"

    def __init__(
        self,
        channels: int = 16,
        pairs: int = 12,
        skip: Literal["pairwise", "long"] = "pairwise",
        norm: Literal["running", "batch"] = "running",
        eps: float = 1e-3,
        momentum: float = 0.01,
        radius: int = 15,
        smoothing: float = 1.0,
    ) -> None:
        super().__init__()
        check_choices(DDN, skip=skip, norm=norm)
        check_sizes(channels=channels, pairs=pairs, radius=radius)
        check_positive(eps=eps, smoothing=smoothing)
        if not 0 < momentum <= 1:
            raise SlackoffError(f"network.momentum={momentum} must lie above 0, and be at most 1")
        self.skip, self.radius, self.smoothing = skip, radius, smoothing

        def conv_norm(channels_in: int, channels_out: int) -> nn.Sequential:
            return nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 3, padding=1),
                nn.BatchNorm2d(channels_out, eps, momentum, track_running_stats=norm == "running"),
            )

        self.first = conv_norm(3, channels)
        self.layers = nn.ModuleList(conv_norm(channels, channels) for _ in range(2 * pairs))
        self.last = conv_norm(channels, 3)
        draw_weights(self, nn.init.xavier_uniform_)  # as the authors start

    def forward(self, rainy: Tensor) -> Tensor:
        features = start = self.first(rainy - guided_smooth(rainy, self.radius, self.smoothing)).relu()
        for odd, even in zip(self.layers[::2], self.layers[1::2], strict=True):
            inner = even(odd(features).relu()).relu()
            features = features + inner if self.skip == "pairwise" else inner
        return rainy + self.last(features + start if self.skip == "long" else features)
