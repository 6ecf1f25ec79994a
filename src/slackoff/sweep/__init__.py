"""The sweep: from configs to cells, one process each, only what is missing, then the study's report."""
