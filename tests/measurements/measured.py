"""Records as `run_measurement` leaves them, of rows whose numbers are known."""

import json
from pathlib import Path
from typing import Any

import pandas as pd

ENVIRONMENT = {"cpu": "Some CPU", "gpu": "Some GPU", "packages": {"torch": "2.99"}}


def write_record(folder: Path, kind: str, rows: pd.DataFrame, measure: dict[str, Any], **texts: str) -> Path:
    """Write rows and study.json; ``measure`` are the settings."""
    folder.mkdir(parents=True, exist_ok=True)
    rows.to_parquet(folder / f"{kind}.parquet", index=False)
    content = {"name": folder.name, "kind": kind, "measure": measure, "environment": ENVIRONMENT}
    (folder / "study.json").write_text(json.dumps(content | texts))
    return folder
