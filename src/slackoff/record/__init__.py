"""What a cell leaves on disk, and the views of it: status, steps, images, checkpoints, pictures, W&B.

Local files are the truth; W&B is a view that training never waits for and never fails because of.
"""
