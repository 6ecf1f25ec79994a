# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # What does the rain look like, and what are the backgrounds?
#
# **Question:** what is a network trained on and what is it tested on: which rain ranges, which test rain, which
# patches, and how complex are they? Look before you train; nothing is trained here.

# %% tags=["parameters"]
RAINS = ["small", "medium", "large", "slanted"]  # presets in conf/rain
EVALUATION = "r100like"  # a preset in conf/evaluation
BACKGROUND = "builtin"  # a preset in conf/background
OVERRIDES = []  # what else you would write on the command line, such as roots.div2k=/data/div2k
CATEGORIES = {}  # further photos to measure, name: folder
PATCHES = 24  # how many to look at, and to measure of each category

# %%
# %matplotlib inline
import torch
from hydra import compose, initialize_config_dir
from IPython.display import display
from ipywidgets import IntSlider, interact

from slackoff.analysis.compare import as_grey_levels, contact_sheet
from slackoff.config import config_folder
from slackoff.config.build import build, build_backgrounds, build_test_sets
from slackoff.images import build_bank
from slackoff.measurements.complexity import ComplexityMeasurement, full_depth, structural_complexity
from slackoff.measurements.complexity_orders import spectra
from slackoff.measurements.complexity_report import scales_figure
from slackoff.rain import RainRange, add_rain, render_layer


def configured(*overrides):
    """The config of a cell, as the command line would make it."""
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        chosen = [f"background={BACKGROUND}", f"evaluation={EVALUATION}", *OVERRIDES, *overrides]
        return compose("config", chosen)


def layer(rain, seed, side=128):
    """One draw of a rain: a tensor (1, side, side) in [0, 1]."""
    return render_layer(rain, side, side, torch.Generator().manual_seed(seed))[0]


config = configured()
backgrounds = build_backgrounds(config)
side = int(config.background.patch_size_px)
print(
    f"{len(backgrounds.split.train)} photos to train on, {len(backgrounds.split.test)} held out; patches of {side} px"
)

# %% [markdown]
# ## Training rain
#
# Six draws of each range (Table 1 of "Networks are Slacking Off"; `slanted` is ours), the rain alone: black is none.
# Each draw has a number of streaks, a width, a length and an angle of its own.

# %%
ranges = {name: build(configured(f"rain={name}").rain, "rain") for name in RAINS}
draws = {name: [as_grey_levels(layer(rain, seed).numpy()) for seed in range(6)] for name, rain in ranges.items()}
contact_sheet(draws, title="Training rain: six draws of each range")

# %% [markdown]
# One draw by hand: move a slider. (Without a running kernel the pictures above have to do.)


# %%
def look(length, width, angle, seed):
    rain = RainRange([250, 250], [width], [length, length], [angle, angle])
    display(contact_sheet({"rain": [as_grey_levels(layer(rain, seed).numpy())]}))


_ = interact(
    look,
    length=IntSlider(30, 10, 60, continuous_update=False),
    width=IntSlider(5, 1, 9, step=2, continuous_update=False),
    angle=IntSlider(0, -70, 70, continuous_update=False),
    seed=IntSlider(0, 0, 20, continuous_update=False),
)
# %% [markdown]
# ## Backgrounds
#
# The first patches of the training bank, from the least complex to the most: *C* is the structural complexity of
# Bagrov et al. (PNAS 2020) without its finest scale, which is mostly noise. A bank of N patches is the beginning of
# every larger one, so these are the patches of the studies.

# %%
bank = build_bank(backgrounds.source, backgrounds.split.train, side, PATCHES, int(config.background.seed))
pixels = torch.from_numpy(bank).movedim(-1, 1).double() / 255
complexity = structural_complexity(pixels, full_depth(side, side), k0=1).numpy()
order = complexity.argsort()
rows = {f"{start + 1} to {min(start + 8, PATCHES)}": order[start : start + 8] for start in range(0, PATCHES, 8)}
contact_sheet(
    {name: [bank[place] for place in places] for name, places in rows.items()},
    {name: [f"C = {complexity[place]:.4f}" for place in places] for name, places in rows.items()},
    title=f"The first {PATCHES} patches of the bank, by structural complexity",
)

# %% [markdown]
# At which scales does a category have its contrast? The intervals come from a bootstrap over photos. The complexity
# study, `python -m slackoff +experiment=complexity -m`, measures many more patches and judges the published order.

# %%
sources = {BACKGROUND: backgrounds.source} | {name: {"root": folder} for name, folder in CATEGORIES.items()}
measured = ComplexityMeasurement(sources, side, PATCHES, colours=["rgb"]).measure()
scales_figure(spectra(measured), filter_size=2)

# %% [markdown]
# ## What a network sees, and what it is tested on
#
# Rainy training patches, image = clip(background + rain); then test images, whose backgrounds were held out and whose
# rain comes from another generator.

# %%
seen = {
    name: [as_grey_levels(add_rain(pixels[n : n + 1].float(), layer(rain, n, side)[None])[0].numpy()) for n in range(6)]
    for name, rain in ranges.items()
}
contact_sheet(seen, title="Training images: the first six patches under each range")

# %%
for name, test_set in build_test_sets(config).items():
    images = test_set.load(backgrounds.source, backgrounds.split.test)[:6]
    parts = {
        part: [as_grey_levels(getattr(image, part).numpy()) for image in images]
        for part in ("rainy", "rain", "background")
    }
    display(contact_sheet(parts, title=f"Test set {name}: the first {len(images)} images"))
