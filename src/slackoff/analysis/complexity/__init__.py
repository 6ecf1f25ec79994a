"""The report of a complexity study: how structurally complex image categories are, and at which scales in which order.

Everything is drawn from study.json and complexity.parquet. Drawing libraries are imported when a report is built.
"""

from slackoff.analysis.complexity.record import ComplexityStudy, load

__all__ = ["ComplexityStudy", "load"]
