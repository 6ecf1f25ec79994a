"""Studies that train nothing: what they measure, what they leave in the record, and the page that is drawn from it.

``study`` runs and draws them; ``complexity`` and ``runtime`` measure, each with the report that shows it.
"""
