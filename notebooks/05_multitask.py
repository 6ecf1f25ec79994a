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
# # How do the terms of a loss share the training, and what does weighting them change?
#
# **Question:** with several loss terms, which one does the training follow, how do adaptive weights (MENET's loss and
# gradient balancing, uncertainty, GradNorm, DWA, PCGrad) move against fixed ones, and does it show in the results?
#
# Name a study of yours below. With none, a small record of tiny networks is trained and shown.

# %% tags=["parameters"]
STUDY = ""  # a name under RUNS/studies, such as menet_slacking-laptop-builtin-r100like-1a2b3c
RUNS = "../runs"  # where your records are
CELLS = []  # ids of the cells whose training to draw; none: the first four

# %%
# %matplotlib inline
from IPython.display import display
from ipywidgets import SelectMultiple, interact
from small_record import small_record

from slackoff.analysis import load
from slackoff.analysis.compare import cell_names
from slackoff.analysis.figures import curves, split
from slackoff.analysis.tables import cell_means, readable, study_table
from slackoff.analysis.training_curves import term_curves, term_steps

frames = load(STUDY, RUNS) if STUDY else load("small_multitask", small_record())
axis, names = frames.study.axis, cell_names(frames)
print(f"{frames.study.title} {len(frames.cells)} cells, {len(frames.unfinished)} of them without results.")

# %% [markdown]
# ## Losses, weights and gradient norms
#
# A row per cell. The *share* is a term's weight times its loss as part of the sum: which term the training looks at.
# Gradient norms are there where the weighting needs them or `task.log_gradient_norms=true` asked for them. Where they
# lie far apart, the larger one decides the direction of a step unless a weight holds against it.

# %%
terms = term_steps(frames)
trained = [cell for cell in names if cell in set(terms["cell"])]
cells = CELLS or trained[:4]
term_curves(frames, cells)

# %% [markdown]
# Other cells: choose one or several. (Without a running kernel the picture above has to do.)

# %%
menu = [(names[cell], cell) for cell in trained]
_ = interact(
    lambda chosen: display(term_curves(frames, list(chosen))) if chosen else None,
    chosen=SelectMultiple(options=menu, value=cells[:1]),
)
# %% [markdown]
# ## Weights and shares at the last step

# %%
last = terms[terms["step"] == terms.groupby("cell")["step"].transform("max")]
last = last.assign(cell=last["cell"].map(lambda cell: names.get(cell, cell)))
last.pivot(index="cell", columns="term", values=["weight", "share"]).round(3)

# %% [markdown]
# ## Does it show in the results?
#
# Means over the test images with 95 % intervals over images and training seeds. Read them before you believe in a
# curve of weights: a weighting can do much and change little.

# %%
table = study_table(frames)
readable(table, axis)

# %%
points = cell_means(frames)
for labels, rows in split(table, axis):
    own = points
    for label, value in labels.items():
        own = own[own[label] == value]
    display(curves(rows, axis, own))
