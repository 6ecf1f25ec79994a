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
# # How many backgrounds, and where does removal break down?
#
# **Question:** a network that is trained on few background patches has to learn the rain; one that is trained on many
# may learn the backgrounds instead. How do removal of unseen rain and background error move with the number of patches
# N, and after which N does removal break down?
#
# Name a study of yours below. With none, a small record of tiny networks is trained and shown: it shows what the
# notebook does, and nothing about rain.

# %% tags=["parameters"]
STUDY = ""  # a name under RUNS/studies, such as patchcount-laptop-builtin-r100like-5635e1
RUNS = "../runs"  # where your records are
MEASURE = "removal_share"  # whose break points to look for; e_r is the paper's

# %%
# %matplotlib inline
from IPython.display import display
from small_record import small_record

from slackoff.analysis import load
from slackoff.analysis.axes import lines
from slackoff.analysis.breakdown import break_point_figure, break_points, normalised_curves, pairs
from slackoff.analysis.figures import curves, split, training
from slackoff.analysis.groups import groups, in_order
from slackoff.analysis.tables import cell_means, readable, study_table

frames = load(STUDY, RUNS) if STUDY else load("small_patchcount", small_record())
axis = frames.study.axis
print(f"{frames.study.title} {len(frames.cells)} cells, {len(frames.unfinished)} of them without results.")

# %% [markdown]
# ## The numbers
#
# Means over the test images with 95 % bootstrap intervals over images and, where there are several, training seeds.
# *E_R* is how much the network changes inside the rain, *removal share* how much of the rain it takes out, *E_B* its
# error outside the rain.

# %%
table = study_table(frames)
readable(table, axis)

# %% [markdown]
# ## The curves
#
# The dashed lines are what the perfect output, or the untouched input, would have. Open circles are single training
# seeds.

# %%
points = cell_means(frames)
parts = split(table, axis)
for labels, rows in parts:
    own = points
    for label, value in labels.items():
        own = own[own[label] == value]
    display(curves(rows, axis, own))

# %% [markdown]
# ## Where it breaks down
#
# Each curve is stretched so that its least mean is 0 and its greatest 1, as in Figure 6(a) of the paper. The break
# point is the last N at which it is still above one half (our rule; the paper judges by eye), and its interval comes
# from the same bootstrap. Stretching hides how far a curve falls, so the fall stands beside it; where it is not clear
# of noise, the mark is hollow and there is no break point to speak of.

# %%
breaks = break_points(frames, MEASURE)
values = in_order(frames.cells[axis])
display(break_point_figure(breaks, axis, values, MEASURE))
breaks.drop(columns="name")

# %%
for labels, rows in parts:
    if drawable := pairs(lines(rows, axis), groups(frames), labels):
        display(normalised_curves(drawable))

# %% [markdown]
# ## Was it trained for long enough?
#
# Curves that still move at the last step say more about the training than about N.

# %%
training(frames.steps, frames.cells, axis)
