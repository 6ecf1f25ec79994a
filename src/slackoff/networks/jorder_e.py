"""JORDER-E: joint estimation of rain mask, rain level and background, in two stages."""

from typing import ClassVar, NamedTuple

from torch import Tensor

from slackoff.errors import SlackoffError
from slackoff.networks.jorder_e_blocks import Stage, StageOutput
from slackoff.networks.stages import StagedNetwork, Stages

GREY_LEVELS = 255.0


class JorderEstimates(NamedTuple):
    """All that JORDER-E gives, (N, C, H, W) each.

    ``backgrounds``: one a stage, the result last, in about [0, 1]. ``mask``: two logits a pixel, of the classes 0 and
    1, by the last stage. ``level``: background less rainy image, so negative rain, in the unit of the images, by the
    last stage.
    """

    backgrounds: tuple[Tensor, ...]
    mask: Tensor
    level: Tensor


class JORDERE(StagedNetwork):
    """Joint rain detection and removal, enhanced (Yang, Tan, Feng, Guo, Yan, Liu, TPAMI 2019), as released.

    Two stages with weights of their own. Each estimates where rain is (mask) and how much (level) from features of
    dilated convolutions, lets both modulate the features, and decodes them into what to add to the rainy image. The
    release has neither the paper's branch for haze nor its step that preserves detail, and so has this. 4,169,024
    parameters by default; the release's practical model, whose weights are published, has 406,784 (32 channels, 3
    blocks).

    Input and output: float, (N, 3, H, W), RGB in about [0, 1], any size; inside, images are in 0..255.

    Args:
        channels: of the features.
        blocks: of dilated convolutions in each stage.

    Raises:
        SlackoffError: a size below 1.
    """

    paper: ClassVar[str] = "Yang et al., JORDER-E (TPAMI 2019)"
    shared_layer: ClassVar[str] = "stage2.decoder.1"

    def __init__(self, channels: int = 64, blocks: int = 9) -> None:
        super().__init__()
        for key, value in {"channels": channels, "blocks": blocks}.items():
            if value < 1:
                raise SlackoffError(f"network.{key}={value} must be at least 1")
        self.stage1, self.stage2 = Stage(channels, blocks), Stage(channels, blocks)

    def estimates(self, rainy: Tensor) -> JorderEstimates:
        """Both backgrounds, mask and level for rainy images: float, (N, 3, H, W), in [0, 1]."""
        image = rainy * GREY_LEVELS
        first: StageOutput = self.stage1(image, image, None)
        last: StageOutput = self.stage2(image, first.estimate, first)
        backgrounds = (first.estimate / GREY_LEVELS, last.estimate / GREY_LEVELS)
        return JorderEstimates(backgrounds, last.mask, last.level / GREY_LEVELS)

    def stages(self, rainy: Tensor) -> Stages:
        """The two backgrounds, the result last: (N, 3, H, W) each, in about [0, 1]; no rain layers."""
        return Stages(self.estimates(rainy).backgrounds)
