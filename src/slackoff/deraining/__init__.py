"""The chosen network as a tool to take away: photos without rain, files for other programs, a page to try it on.

What is run here was trained before; nothing of a record is changed.
"""
