"""The published numbers of MOSS's ablations (supplement, Tables 3 to 5).

PSNR in dB and SSIM on the synthetic test images of DDN-SIRR: the ten dense and the ten sparse ones, or the mean over
all twenty.
"""

from slackoff.analysis.claims.variant_tables import PublishedTable

FULL = "full"

_SOURCE = "{} of the supplement of MOSS, test set of DDN-SIRR"

TABLES = {
    "moss_ablation": PublishedTable(
        _SOURCE.format("Table 3"),
        FULL,
        {
            "dense": {
                "basic": (19.99, 0.835),
                "without memory": (22.21, 0.870),
                "without self-training": (20.99, 0.860),
                "without TV": (22.68, 0.876),
                "without skip": (22.00, 0.858),
                FULL: (22.91, 0.883),
            },
            "sparse": {
                "basic": (25.74, 0.881),
                "without memory": (26.82, 0.906),
                "without self-training": (25.83, 0.890),
                "without TV": (27.58, 0.908),
                "without skip": (26.80, 0.900),
                FULL: (27.78, 0.912),
            },
        },
    ),
    "moss_tau": PublishedTable(
        _SOURCE.format("Table 4"),
        FULL,
        {
            "sirr": {
                "tau 0": (25.06, 0.876),
                "tau 0.9": (25.24, 0.896),
                "tau 0.99": (25.01, 0.894),
                "tau 0.999": (25.35, 0.898),
                "tau 0.9999": (25.19, 0.894),
                "tau 1": (24.13, 0.885),
                "without memory": (24.52, 0.888),
            }
        },
    ),
    "moss_nu": PublishedTable(
        _SOURCE.format("Table 5"),
        FULL,
        {
            "sirr": {
                "nu 0": (25.17, 0.887),
                "nu 0.9": (24.93, 0.890),
                "nu 0.99": (25.28, 0.892),
                "nu 0.999": (25.35, 0.898),
                "nu 0.9999": (25.04, 0.885),
                "nu 1": (24.15, 0.8884),
                "without self-training": (23.41, 0.875),
            }
        },
    ),
}
"""By the family of claims that goes with them."""
