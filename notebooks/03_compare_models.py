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
# # Which model is better, where, and what does it look like?
#
# **Question:** means of a test set hide single images. How do any cells compare image by image, which images are worst,
# and what do they look like close up?
#
# Name a study of yours below. With none, a small record of tiny networks is trained and shown.

# %% tags=["parameters"]
STUDY = ""  # a name under RUNS/studies
RUNS = "../runs"  # where your records are
CELLS = []  # ids of two to four cells, or the beginnings of them; none: the first and the last that are done
MEASURE = "psnr_rgb"  # a measure of the record, such as psnr_rgb, ssim_rgb, removal_share, e_b
WORST = 5  # how many of the worst images to name

# %%
# %matplotlib inline
import pandas as pd
from IPython.display import display
from ipywidgets import Dropdown, IntSlider, interact
from small_record import small_record

from slackoff.analysis import load
from slackoff.analysis.compare import cell_names, image_pairs, image_scatter, kept_images, side_by_side, worst_images

frames = load(STUDY, RUNS) if STUDY else load("small_comparison", small_record())
names = cell_names(frames)
chosen = [cell for start in CELLS for cell in names if cell.startswith(start)] or [*list(names)[:1], *list(names)[-1:]]
first, second = chosen[0], chosen[-1]
pd.Series(names, name="the cells that are done")

# %% [markdown]
# ## Image by image
#
# One point per test image. Above the dashed line the second cell is better where more is better. The images that lose
# most are named.

# %%
pairs = image_pairs(frames, first, second, MEASURE)
image_scatter(pairs, (names[first], names[second]), MEASURE, WORST)

# %% [markdown]
# The images that lose most, and those that gain most: `gain` is positive where the second cell is better.

# %%
pd.concat([pairs.head(WORST), pairs.tail(WORST)]).drop_duplicates()

# %% [markdown]
# ## The worst images of one cell
#
# `kept` says whether the cell kept its pictures of that image; `evaluation.picture_count` says how many it keeps.

# %%
worst = worst_images(frames, second, MEASURE, WORST)
worst

# %% [markdown]
# ## Side by side
#
# The worst of the images of which all chosen cells kept pictures. The zoom is where the first cell's error is largest;
# errors are against the truth, on one scale for all.

# %%
kept = kept_images(frames, chosen)
by_gain = [image for image in zip(pairs["test_set"], pairs["image"], strict=True) if image in kept]
side_by_side(frames, chosen, by_gain[0], MEASURE) if by_gain else print("These cells kept no picture in common.")

# %% [markdown]
# Any image, any two cells, any place to zoom into: choose. (Without a running kernel the picture above has to do.)


# %%
def look(image, left_cell, right_cell, top, left, side):
    if image in kept_images(frames, [left_cell, right_cell]):
        display(side_by_side(frames, [left_cell, right_cell], image, MEASURE, (top, left, side)))
    else:
        print("These two cells kept no pictures of this image.")


every = sorted({image for cell in names for image in kept_images(frames, [cell])})
menu = [(name, cell) for cell, name in names.items()]
if every:
    _ = interact(
        look,
        image=Dropdown(options=[(", ".join(image), image) for image in every]),
        left_cell=Dropdown(options=menu, value=first),
        right_cell=Dropdown(options=menu, value=second),
        top=IntSlider(0, 0, 480, continuous_update=False),
        left=IntSlider(0, 0, 480, continuous_update=False),
        side=IntSlider(48, 16, 256, continuous_update=False),
    )
