"""The report of a runtime study: seconds per image of every network, side by side, and beside the published ones.

Everything is drawn from study.json and runtime.parquet. Drawing libraries are imported when a report is built.
"""

from slackoff.analysis.runtime.record import RuntimeStudy, load

__all__ = ["RuntimeStudy", "load"]
