"""The process that trains one cell: ``python -m slackoff.cell.process FOLDER``, started by a sweep."""
