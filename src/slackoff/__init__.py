"""slackoff: why does a deraining network fail on rain it has not seen, and how do I train one that does not?

Images and rain -> batch -> task -> evaluation -> record -> analysis. A later stage imports an earlier one, never
the reverse; each folder says in its first lines what it is for.
"""

__version__ = "0.1.0"
