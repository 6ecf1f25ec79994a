"""A record of three cells, and a small server that speaks as much of W&B as the client asks for and keeps all of it.

Two of the cells are done and one was interrupted, on two test sets.
"""

import base64
import gzip
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from slackoff.record.results import picture_folder
from slackoff.record.status import Status

STUDY = "patchcount-smoke-x"
COUNTS = {"0000000000aa": 8, "0000000000bb": 64, "0000000000cc": 1024}
CONFIG = """\
study: {name: patchcount, axis: background.patch_count, variant: ""}
background: {name: builtin, patch_count: %d}
evaluation: {name: own, protocol: {headline: 10}}
logger: {wandb: false, project: slackoff}
"""


def write_record(runs: Path) -> Path:
    """Write the cells and their study; the study's folder."""
    for number, (identity, count) in enumerate(COUNTS.items()):
        write_cell(runs / "cells" / identity, identity, count, 50.0 - 5 * number, done=number < 2)
    folder = runs / "studies" / STUDY
    (folder / "figures").mkdir(parents=True)
    Image.new("RGB", (40, 30), "white").save(folder / "figures" / "curves.png")
    (folder / "index.html").write_text("<html>the page</html>")
    claim = {"family": "patchcount", "statement": "E_R falls.", "verdict": "supported", "sentence": "By 5."}
    (folder / "claims.json").write_text(json.dumps([claim | {"scope": ""}]))
    study = {
        "name": STUDY,
        "experiment": "patchcount",
        "title": "How many backgrounds?",
        "question": "Does it remove less?",
        "axis": "patch_count",
        "command": "python -m slackoff +experiment=patchcount -m",
        "cells": [{"id": identity, "axes": {"patch_count": count}} for identity, count in COUNTS.items()],
        "claims": [],
        "test_sets": [],
        "options": {},
    }
    (folder / "study.json").write_text(json.dumps(study))
    return folder


def write_cell(folder: Path, identity: str, count: int, e_r: float, done: bool) -> None:
    """Write one cell: 4 recorded steps, and where it is done 3 images on each test set and a picture."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(CONFIG % count)
    label = {"network": "unet_tiny", "background": "builtin", "rain": "small", "patch_count": count, "seed": 0}
    Status(identity, label, 40, "done" if done else "interrupted", step=40).write(folder)
    steps = step_rows(e_r)
    if not done:
        lines = steps.drop(columns=["test/e_r", "final/e_r"]).to_dict("records")
        (folder / "steps.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return
    steps.to_parquet(folder / "steps.parquet")
    image_rows(e_r).to_parquet(folder / "images.parquet")
    place = picture_folder(folder, ("own", "p0"))
    place.mkdir(parents=True, exist_ok=True)
    for kind, grey in {"rainy": 200, "output": 120, "background": 100}.items():
        Image.new("RGB", (24, 16), (grey, grey, grey)).save(place / f"{kind}.png")


def step_rows(e_r: float) -> pd.DataFrame:
    """Loss at each step, a test at the second, the last measures at the end."""
    nothing = float("nan")
    return pd.DataFrame(
        {
            "step": [10, 20, 30, 40],
            "elapsed_s": [1.0, 2.0, 3.0, 4.0],
            "train/loss": [0.4, 0.3, 0.2, 0.1],
            "test/e_r": [nothing, e_r + 1, nothing, nothing],
            "final/e_r": [nothing, nothing, nothing, e_r],
        }
    )


def image_rows(e_r: float) -> pd.DataFrame:
    """Three images on each of two test sets; E_R is 10 more on the second."""
    own = np.array([-1.0, 0.0, 1.0])
    rows = pd.DataFrame({"image": ["p0", "p1", "p2"], "height": 16, "width": 24, "e_r": e_r + own})
    for name, value in {"e_r_oracle": 45.0, "removal_share_oracle": 0.9, "removal_share": 0.5, "e_b": 9.0}.items():
        rows[name] = value
    for name, value in {"psnr_rgb": 27.0, "ssim_rgb": 0.9, "psnr_rgb_input": 25.0, "ssim_rgb_input": 0.8}.items():
        rows[name] = value
    sets = [rows.assign(test_set=name, e_r=rows["e_r"] + shift) for name, shift in (("own", 0), ("r100like", 10))]
    return pd.concat(sets, ignore_index=True)


ENTITY = "tester"
KEY = "0123456789abcdef" * 2 + "01234567"


class Stub:
    """The state of the server: runs by id, views by id, files by run and name, and what it could not answer."""

    def __init__(self) -> None:
        self.runs: dict[str, dict[str, Any]] = {}
        self.views: dict[str, dict[str, Any]] = {}
        self.files: dict[tuple[str, str], bytes] = {}
        self.projects: set[str] = set()
        self.deleted: set[str] = set()
        self.asked: list[str] = []
        self.unknown: list[str] = []
        self.url = ""
        self.lock = threading.Lock()

    def history(self, run: str) -> list[dict[str, Any]]:
        """The rows of a run's history, in order."""
        return [json.loads(line) for line in self.runs[run]["lines"].get("wandb-history.jsonl", [])]

    def config(self, run: str) -> dict[str, Any]:
        """The config of a run as a user sees it."""
        return {key: item["value"] for key, item in json.loads(self.runs[run]["config"]).items() if key != "_wandb"}

    def answer(self, name: str, text: str, given: dict[str, Any]) -> dict[str, Any]:
        """The data of a GraphQL query."""
        self.asked.append(name)
        for known, reply in _ANSWERS.items():
            if re.search(rf"\b{known}\b", text):
                found: dict[str, Any] = reply(self, given)
                return found
        self.unknown.append(text)
        return {}

    def upsert_run(self, given: dict[str, Any]) -> dict[str, Any]:
        known = given.get("id") and next((run for run in self.runs.values() if run["id"] == given["id"]), None)
        name = known["name"] if known else given["name"]
        self.projects.add(given.get("project") or (known or {}).get("project"))
        inserted = name not in self.runs
        run = self.runs.setdefault(name, {**_NEW_RUN, "id": f"id-{name}", "name": name, "lines": {}})
        run |= {key: given[key] for key in _NEW_RUN if given.get(key) is not None}
        return {"upsertBucket": {"bucket": self.bucket(run), "inserted": inserted}}

    def bucket(self, run: dict[str, Any]) -> dict[str, Any]:
        lines = run["lines"]
        counts = {f"{kind}LineCount": len(lines.get(f"wandb-{kind}.jsonl", [])) for kind in ("history", "events")}
        if summary := lines.get("wandb-summary.json"):
            run = {**run, "summaryMetrics": summary[-1]}
        counts["logLineCount"] = len(lines.get("output.log", []))
        tails = {f"{kind}Tail": json.dumps(lines.get(f"wandb-{kind}.jsonl", [])[-1:]) for kind in ("history", "events")}
        names = {"project": _project(run["project"]), "group": run["groupName"], "sweepName": run["sweep"]}
        return {**run, **counts, **tails, **names}

    def resume_status(self, given: dict[str, Any]) -> dict[str, Any]:
        run = self.runs.get(given["name"])
        return {"model": {**_project(given["project"]), "bucket": self.bucket(run) if run else None}}

    def list_runs(self, given: dict[str, Any]) -> dict[str, Any]:
        if given["project"] not in self.projects:
            return {"project": None}
        group, tag = (json.loads(given.get("filters") or "{}") or {}).get("$or") or ({}, {})
        wanted = set(tag["tags"]["$in"]) if tag else set()
        runs = [
            self.bucket(run)
            for run in self.runs.values()
            if not tag or run["groupName"] == group["group"] or wanted & set(run["tags"])
        ]
        found = {"internalId": "1", "readOnly": False, "runCount": len(runs)}
        return {"project": {**found, "runs": _page(runs)}}

    def read_history(self, given: dict[str, Any]) -> dict[str, Any]:
        lines = self.runs[_run_in(given)]["lines"].get("wandb-history.jsonl", [])
        return _of_run({"history": lines[given["minStep"] : given["maxStep"]]})

    def live_history(self, given: dict[str, Any]) -> dict[str, Any]:
        return _of_run({"parquetHistory": {"parquetUrls": [], "liveData": self.history(_run_in(given))[:1]}})

    def history_keys(self, given: dict[str, Any]) -> dict[str, Any]:
        return _of_run({"historyKeys": {"lastStep": len(self.history(_run_in(given))) - 1, "keys": {}}})

    def list_files(self, given: dict[str, Any]) -> dict[str, Any]:
        name = given["fileNames"][0]
        url = f"{self.url}/{_run_in(given)}/{name}"
        file = {"id": "f", "name": name, "url": url, "directUrl": url, "sizeBytes": 1, "mimetype": "application/json"}
        return _of_run({"fileCount": 1, "files": _page([{**file, "updatedAt": None, "md5": "0"}])})

    def create_files(self, given: dict[str, Any]) -> dict[str, Any]:
        run, names = given["run"], given["files"]
        files = [{"name": name, "uploadUrl": f"{self.url}/upload/{run}/{name}"} for name in names]
        return {"createRunFiles": {"runID": run, "uploadHeaders": [], "files": files}}

    def upsert_view(self, given: dict[str, Any]) -> dict[str, Any]:
        identity = given.get("id") or base64.b64encode(f"View:{len(self.views) + 1}".encode()).decode().rstrip("=")
        inserted = identity not in self.views
        project = {"id": "P1", "name": given["projectName"], "entityName": given["entityName"]}
        view = {**given, "id": identity, "project": project, "createdAt": _NOW, "updatedAt": _NOW, "user": None}
        self.views[identity] = view
        return {"upsertView": {"view": view, "inserted": inserted}}

    def list_views(self, given: dict[str, Any]) -> dict[str, Any]:
        if (given.get("project") or given.get("name") or given.get("projectName")) not in self.projects:
            return {"project": None}
        kind, name = given.get("viewType") or "runs", given.get("viewName")
        found = [view for view in self.views.values() if view["type"] == kind and name in (None, view["name"])]
        return {"project": {"allViews": _page(found)}}

    def take_lines(self, run: str, body: dict[str, Any]) -> None:
        """What a file stream brings: lines of files, each from an offset, and the exit code at the end."""
        known = self.runs[run]["lines"]
        for name, chunk in body.get("files", {}).items():
            lines = known.setdefault(name, [])
            lines[chunk["offset"] : chunk["offset"] + len(chunk["content"])] = chunk["content"]
        if body.get("complete"):
            self.runs[run]["state"] = "finished" if body.get("exitcode") == 0 else "failed"


def _run_in(given: dict[str, Any]) -> str:
    return next(given[key] for key in ("runName", "run", "name") if key in given)


def _of_run(content: dict[str, Any]) -> dict[str, Any]:
    return {"project": {"internalId": "1", "run": content}}


def _project(name: str) -> dict[str, Any]:
    return {"id": "P1", "name": name, "entity": {"id": "E1", "name": ENTITY}}


def _page(nodes: list[dict[str, Any]]) -> dict[str, Any]:
    """The only page of a list."""
    edges = [{"node": node, "cursor": node["id"]} for node in nodes]
    return {"edges": edges, "pageInfo": {"endCursor": None, "hasNextPage": False}}


_NOW = "2026-01-02T03:04:05"
_NEW_RUN: dict[str, Any] = {
    **dict.fromkeys(("groupName", "jobType", "sweep", "notes", "description", "historyKeys")),
    **dict.fromkeys(("config", "summaryMetrics", "systemMetrics"), "{}"),
    **{"displayName": "", "project": "", "projectId": "1", "tags": [], "state": "running", "readOnly": False},
    **{"wandbConfig": '{"t": 1}', "createdAt": _NOW, "heartbeatAt": _NOW, "user": {"name": "T", "username": ENTITY}},
}
_ENTITY = {"id": "U1", "entity": ENTITY, "username": ENTITY, "flags": "{}"}
_ENTITY |= {"teams": {"edges": []}, "apiKeys": {"edges": []}}
_PROJECT = {"id": "P1", "entityName": ENTITY, "createdAt": "", "isBenchmark": False, "user": None}
_ANSWERS: dict[str, Any] = {
    "viewer": lambda stub, given: {"viewer": {**_ENTITY, "email": None, "admin": False, "deletedAt": None}},
    "serverInfo": lambda stub, given: {
        "serverInfo": {"features": [], "cliVersionInfo": "{}", "latestLocalVersionInfo": None}
    },
    "upsertBucket": Stub.upsert_run,
    "RunResumeStatus": Stub.resume_status,
    "createRunFiles": Stub.create_files,
    "createArtifact": lambda stub, given: {
        "createArtifact": {"artifact": {"id": "A1", "state": "COMMITTED", "artifactSequence": {"latestArtifact": None}}}
    },
    "artifactType": lambda stub, given: {"project": {"artifact": None}},
    "upsertView": Stub.upsert_view,
    "ProjectInternalId": lambda stub, given: {"project": {"id": "P1", "internalId": "1"}},
    "allViews": Stub.list_views,
    "runs": Stub.list_runs,
    "GetProjects": lambda stub, given: {"models": _page([{**_PROJECT, "name": name} for name in stub.projects])},
    "organization": lambda stub, given: {"entity": {"organization": None}},
    "parquetHistory": Stub.live_history,
    r"history\(": Stub.read_history,
    "fileNames": Stub.list_files,
    "historyKeys": Stub.history_keys,
}


def _handler(stub: Stub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: Any) -> None:
            pass

        def _body(self) -> bytes:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

        def _reply(self, content: dict[str, Any] | bytes, code: int = 200) -> None:
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_POST(self) -> None:
            body = self._body()
            with stub.lock:
                if self.path.startswith("/graphql"):
                    query = json.loads(body)
                    found = re.search(r"(?:query|mutation)\s+(\w+)", query["query"])
                    name = found.group(1) if found else ""
                    given = query.get("variables") or {}
                    if name == "UpsertBucket" and given.get("name") in stub.deleted:
                        words = f"run {given['name']} was previously created and deleted; try a new run name"
                        self._reply({"errors": [{"message": words}]}, 409)
                        return
                    self._reply({"data": stub.answer(name, query["query"], query.get("variables") or {})})
                    return
                if self.path.endswith("/file_stream"):
                    stub.take_lines(self.path.split("/")[-2], json.loads(body))
            self._reply({})

        def do_PUT(self) -> None:
            _, _, run, name = self.path.split("/", 3)
            body = self._body()
            with stub.lock:
                stub.files[run, name] = body
                if name == "wandb-summary.json":
                    stub.runs[run]["summaryMetrics"] = body.decode()
            self._reply({})

        def do_GET(self) -> None:
            _, run, name = (*self.path.split("/", 2), "")[:3]
            self._reply(stub.files.get((run, name), {}))

    return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that closes its connection is none."""


@contextmanager
def serving() -> Iterator[Stub]:
    """The server on a free port of this machine, as long as the context lasts."""
    stub = Stub()
    server = _Server(("127.0.0.1", 0), _handler(stub))
    stub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()
