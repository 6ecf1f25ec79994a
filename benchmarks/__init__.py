"""How fast slackoff is, measured side by side in one run: `make bench`; see README.md in this folder.

Plain programs around the package: nothing here is imported by it, and nothing here is tuned for the numbers.
"""
