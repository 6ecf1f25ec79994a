"""The published numbers of MENET (Fan, Chen, Li, arXiv 2003.09689): Tables I, II and IV.

PSNR in dB and SSIM on Rain100H and Rain100L, of single runs. Table I is an image in the paper. Its Rain100H half is
rebuilt here from the log in the authors' repository, which agrees with every number that Tables II and IV print for
Rain100H; of its Rain100L half only those rows are known that Tables II and IV print too.
"""

from slackoff.analysis.claims.variant_tables import PublishedTable

PIXEL, EDGE_FIXED, VGG_FIXED = "Lp", "Lp Le fixed", "Lp VGG fixed"

_PROTOCOL = (
    "on five crops of 224 x 224 and their mirrors of each image, RGB, mean of the crops' PSNR and SSIM; networks for "
    "Rain100H were trained on 1,800 pairs that share 546 scenes with its test set; single runs"
)

TABLES = {
    "menet_ablation": PublishedTable(
        "Table I of MENET, its Rain100H half rebuilt from the log in the authors' repository (VGG: Table IV), of its "
        f"Rain100L half the rows that Tables II and IV print, the others are lost; {_PROTOCOL}",
        PIXEL,
        {
            "rain100h": {
                PIXEL: (27.5016, 0.81463),
                EDGE_FIXED: (27.6132, 0.81995),
                "Lp Le GB": (27.8344, 0.84572),
                "Lp Le LB": (27.9586, 0.83927),
                "Lp Le Lt GB": (27.7977, 0.84645),
                "Lp Le Lt LB": (27.7668, 0.84717),
                "Lp Le Lt GB CA": (28.1458, 0.85243),
                "Lp Le Lt LB CA": (28.1573, 0.85350),
                "Lp Le Lt GB CA deep": (28.7399, 0.86101),
                "Lp Le Lt LB CA deep": (28.7167, 0.85913),
                VGG_FIXED: (27.6265, 0.8210),
            },
            "rain100l": {
                PIXEL: (33.5484, 0.9506),
                EDGE_FIXED: (33.5116, 0.9508),
                "Lp Le Lt GB CA": (34.1852, 0.9554),
                "Lp Le Lt LB CA": (34.0846, 0.9548),
                "Lp Le Lt GB CA deep": (34.2239, 0.9559),
                "Lp Le Lt LB CA deep": (34.1839, 0.9556),
                VGG_FIXED: (33.8075, 0.9550),
            },
        },
    ),
    "menet_table2": PublishedTable(
        f"Table II of MENET, whose authors trained the other methods anew, except DSC; {_PROTOCOL}",
        "MENET-GB",
        {
            "rain100h": {
                "MENET-GB": (28.1457, 0.8524),
                "MENET-LB": (28.1572, 0.8534),
                "MENET-GB-deep": (28.7399, 0.8610),
                "MENET-LB-deep": (28.7167, 0.8591),
                "DSC": (20.2846, 0.5530),
                "DDN": (24.2562, 0.7400),
                "JORDER-E": (27.7527, 0.8555),
                "RESCAN": (28.2138, 0.8572),
            },
            "rain100l": {
                "MENET-GB": (34.1852, 0.9554),
                "MENET-LB": (34.0846, 0.9548),
                "MENET-GB-deep": (34.2239, 0.9559),
                "MENET-LB-deep": (34.1839, 0.9556),
                "DSC": (25.4473, 0.8275),
                "DDN": (30.1555, 0.9082),
                "JORDER-E": (37.3676, 0.9792),
                "RESCAN": (35.5393, 0.9672),
            },
        },
    ),
    "menet_lossnet": PublishedTable(
        f"Table IV of MENET; {_PROTOCOL}",
        PIXEL,
        {
            "rain100h": {PIXEL: (27.5016, 0.8146), VGG_FIXED: (27.6265, 0.8210), EDGE_FIXED: (27.6132, 0.8200)},
            "rain100l": {PIXEL: (33.5484, 0.9506), VGG_FIXED: (33.8075, 0.9550), EDGE_FIXED: (33.5116, 0.9508)},
        },
    ),
}
"""By the family of claims that goes with them."""
