"""From the record to the answer: frames, statistics, claims, tables, figures and the HTML report.

Everything here is drawn from the local record alone and knows nothing of training. Importing this room is
cheap; what draws (`figures`, `report`) is imported from its own module by whoever needs it.
"""

from slackoff.analysis.frames import Frames, load
from slackoff.analysis.study import Study

__all__ = ["Frames", "Study", "load"]
