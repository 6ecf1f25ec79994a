"""Load a study in this process, which has imported nothing before, and print what that took as JSON."""

import json
import resource
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

MEBI = 2**20


@dataclass(frozen=True)
class Loading:
    """One load: seconds of imports and of the load, CPU seconds of the load, peak memory (MB) after each of the two."""

    import_s: float
    load_s: float
    load_cpu_s: float
    import_mb: float
    load_mb: float


def _load(study: str) -> Loading:
    started = time.perf_counter()
    from slackoff.analysis import load

    imported, cpu, import_mb = time.perf_counter(), time.process_time(), _peak_mb()
    frames = load(study)
    found = time.perf_counter() - imported, time.process_time() - cpu
    assert len(frames.images)
    return Loading(imported - started, *found, import_mb, _peak_mb())


def _peak_mb() -> float:
    """Of this program alone; what getrusage says counts the process that started it as well, on Linux."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024 / MEBI
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / MEBI


if __name__ == "__main__":
    print(json.dumps(asdict(_load(sys.argv[1]))))
