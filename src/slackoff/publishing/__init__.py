"""A study shown in W&B from the record: its cells, its tables and curves, a workspace and a report.

Nothing here changes the record, and nothing on a server is ever deleted.
"""
