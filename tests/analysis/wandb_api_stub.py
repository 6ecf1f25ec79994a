"""The answers of a W&B server to the questions of `wandb.Api`, from runs in memory, over HTTP on this machine."""

import json
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class StubRun:
    """A run as the server has it: what was logged by row, the tables by the key under which they were logged."""

    id: str
    group: str
    config: dict[str, Any]
    history: list[dict[str, Any]] = field(default_factory=list)
    tables: dict[str, str] = field(default_factory=dict)
    state: str = "finished"
    tags: tuple[str, ...] = ()

    def node(self) -> dict[str, Any]:
        """The run in a list of runs; values of a config have a layer of their own."""
        config = {key: {"value": value, "desc": None} for key, value in self.config.items()}
        summary = {key: {"_type": "table-file", "path": path(key)} for key in self.tables}
        user = {"name": "me", "username": "me"}
        node = {"id": self.id, "name": self.id, "displayName": self.id, "state": self.state, "group": self.group}
        node |= {"tags": list(self.tags), "projectId": 1, "user": user, "createdAt": "2026-01-01T00:00:00Z"}
        return node | {"config": json.dumps(config), "summaryMetrics": json.dumps(summary)}


def path(key: str) -> str:
    """Where a table lies among the files of its run."""
    return f"media/table/{key}_12_0123456789.table.json"


@dataclass
class Stub:
    """The server: its address, its runs, the operations it was asked for."""

    runs: list[StubRun]
    url: str = ""
    asked: list[str] = field(default_factory=list)

    def answer(self, query: str, values: dict[str, Any]) -> dict[str, Any]:
        """The data of a GraphQL answer."""
        if "viewer" in query:
            return {"viewer": {"id": "u", "entity": "me", "username": "me", "flags": "{}", "teams": {"edges": []}}}
        if "runs(" in query:
            if values["project"] != "rain":
                return {"project": None}
            in_group, with_tag = json.loads(values["filters"])["$or"]
            wanted = set(with_tag["tags"]["$in"])
            found = [run for run in self.runs if run.group == in_group["group"] or wanted & set(run.tags)]
            edges = [{"cursor": run.id, "node": run.node()} for run in found]
            page = {"edges": edges, "pageInfo": {"endCursor": None, "hasNextPage": False}}
            return {"project": {"internalId": "1", "runCount": len(found), "readOnly": False, "runs": page}}
        named = next((values[key] for key in ("runName", "run", "name") if key in values), None)
        run = next((run for run in self.runs if run.id == named), None)
        if run is None:  # what the client asks about the server itself, and can do without
            return {}
        return {"project": {"internalId": "1", "run": self._of_run(run, query, values)}}

    def _of_run(self, run: StubRun, query: str, values: dict[str, Any]) -> dict[str, Any]:
        rows = [{"_step": number, **finite(row)} for number, row in enumerate(run.history)]
        if "parquetHistory" in query:
            return {"parquetHistory": {"parquetUrls": [], "liveData": rows[:1]}}
        if "history(" in query:
            return {"history": [json.dumps(row) for row in rows[values["minStep"] : values["maxStep"]]]}
        if "historyKeys" in query:
            return {"historyKeys": {"lastStep": len(run.history) - 1, "keys": {}}}
        name = values["fileNames"][0]
        url = f"{self.url}/{run.id}/{name}"
        file = {"id": "f", "name": name, "url": url, "directUrl": url, "sizeBytes": 1, "mimetype": "application/json"}
        edges = [{"cursor": "c", "node": {**file, "updatedAt": None, "md5": "0"}}]
        return {"fileCount": 1, "files": {"edges": edges, "pageInfo": {"endCursor": None, "hasNextPage": False}}}

    def file(self, place: str) -> str:
        """The content of the table that lies at /RUN/PATH."""
        _, identity, name = place.split("/", 2)
        run = next(run for run in self.runs if run.id == identity)
        return next(content for key, content in run.tables.items() if path(key) == name)


def finite(row: dict[str, Any]) -> dict[str, Any]:
    """A row as the server tells it: JSON has no NaN, so that is a text."""
    return {key: "NaN" if isinstance(value, float) and math.isnan(value) else value for key, value in row.items()}


@contextmanager
def serving(runs: list[StubRun]) -> Iterator[Stub]:
    """A server with these runs in the project 'rain'."""
    stub = Stub(runs)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            if self.path != "/graphql":  # telemetry of the client
                self._send("{}")
                return
            question = json.loads(body)
            stub.asked.append(question["query"])
            self._send(json.dumps({"data": stub.answer(question["query"], question.get("variables") or {})}))

        def do_GET(self) -> None:
            self._send(stub.file(self.path))

        def log_message(self, *_: Any) -> None:
            """Nothing."""

        def _send(self, text: str) -> None:
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    stub.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()
