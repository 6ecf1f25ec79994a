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
# # Does learning from unlabelled images help, and is the teacher better than the student?
#
# **Question:** in semi-supervised training (MOSS) a moving average of the network, the teacher, writes pseudo labels
# for images without truth. Does that make the network better than labelled images alone, when does it, and which of
# the two should be used in the end?
#
# Name a study of yours below. With none, a small record of tiny networks is trained and shown.

# %% tags=["parameters"]
STUDY = ""  # a name under RUNS/studies, such as semi_generalisation-laptop-builtin-three_rains-cd5222
RUNS = "../runs"  # where your records are

# %%
# %matplotlib inline
from IPython.display import display
from ipywidgets import Dropdown, interact
from small_record import small_record

from slackoff.analysis import load
from slackoff.analysis.compare import cell_names, kept_images, side_by_side
from slackoff.analysis.figures import curves, split
from slackoff.analysis.tables import readable, readable_teachers, study_table, teacher_table
from slackoff.analysis.training_curves import taught_cells, teacher_curves

frames = load(STUDY, RUNS) if STUDY else load("small_semi_supervised", small_record())
axis, names = frames.study.axis, cell_names(frames)
print(f"{frames.study.title} {len(frames.cells)} cells, {len(frames.unfinished)} of them without results.")

# %% [markdown]
# ## With and without unlabelled images
#
# Means over the test images with 95 % intervals: for each test set the untouched input, then the cells.

# %%
table = study_table(frames)
readable(table, axis)

# %%
for _, rows in split(table, axis):
    display(curves(rows, axis))

# %% [markdown]
# ## Teacher and student during training
#
# The shaded part is the first stage, with labelled images only; then the teacher starts as a copy of the student and
# follows it. A teacher that stays behind is too slow (`task.teacher_decay`), one that is no smoother than the student
# too fast.

# %%
teacher_curves(frames)

# %% [markdown]
# ## Teacher against student in the end
#
# The teacher's mean; in brackets how much that is above the student's, and below it the 95 % interval of that
# difference, paired over the test images.

# %%
readable_teachers(teacher_table(frames), axis)

# %% [markdown]
# ## What it looks like

# %%
taught = taught_cells(frames)
untaught = [cell for cell in names if cell not in taught]
shown = [*untaught[:1], taught[0]]
kept = kept_images(frames, shown)
side_by_side(frames, shown, kept[0]) if kept else print("These cells kept no picture in common.")

# %% [markdown]
# Another image: choose. (Without a running kernel the picture above has to do.)

# %%
if kept:
    menu = Dropdown(options=[(", ".join(image), image) for image in kept])
    _ = interact(lambda image: display(side_by_side(frames, shown, image)), image=menu)
