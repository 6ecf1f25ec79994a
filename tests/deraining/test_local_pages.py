"""The demo and the page of a user study as their server answers: who may ask, and which files it gives."""

import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cell_record import IDENTITY, write_photo
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slackoff.deraining import demo
from slackoff.deraining.model import from_cell
from slackoff.user_study import page as study_page
from slackoff.user_study.page import Group, Questionnaire
from slackoff.user_study.votes import VoteFile

gradio = pytest.importorskip("gradio", reason="needs the extra demo")

RATER = "00000000000a"
NOT_OURS = [
    {"Host": "evil.example"},  # its name was made to point to this machine
    {"Host": "evil.example:{port}", "Origin": "http://evil.example:{port}"},
    {"Host": "127.0.0.1.evil.example"},
    {"Host": ""},
    {"Host": "[127.0.0.1"},
    {"Origin": "http://evil.example"},  # it sends through a browser, and need not read the answer
    {"Origin": "https://localhost.evil.example"},
    {"Origin": "null"},
    {"Origin": ""},
]


class Page:
    """A page at a port of this machine."""

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        named = {name: value.format(port=self.port) for name, value in headers.items()}
        connection.request(method, path, body, named)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")

    def call(self, name: str, *data: object) -> tuple[int, str]:
        body = json.dumps({"data": data}).encode()
        return self.ask("POST", f"/gradio_api/run/{name}", body, **{"Content-Type": "application/json"})


@pytest.fixture
def served(monkeypatch) -> Iterator[Callable[[Callable[[int], None]], Page]]:
    """Serves a page as its verb does, until the test ends."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", "restored afterwards")
    ready, over, started = threading.Event(), threading.Event(), []

    def block(page: gradio.Blocks) -> None:
        ready.set()
        over.wait()
        page.close(verbose=False)

    monkeypatch.setattr(gradio.Blocks, "block_thread", block)

    def serve(verb: Callable[[int], None]) -> Page:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        started.append(threading.Thread(target=verb, args=(port,)))
        started[0].start()
        assert ready.wait(60)
        return Page(port)

    yield serve
    over.set()
    for thread in started:
        thread.join()


@pytest.fixture
def page(served, runs: Path) -> Page:
    """The demo."""
    models = [from_cell(IDENTITY, runs)]
    return served(lambda port: demo.serve(models, port))


@pytest.fixture
def votes(tmp_path: Path) -> Path:
    return tmp_path / "votes.csv"


@pytest.fixture
def study(served, votes: Path, tmp_path: Path) -> tuple[Page, Questionnaire]:
    """The page of a user study."""
    for name in ("rainy", "ours", "theirs"):
        write_photo(tmp_path / f"{name}.png")
    group = Group("im", tmp_path / "rainy.png", {name: tmp_path / f"{name}.png" for name in ("ours", "theirs")})
    made = Questionnaire([group], VoteFile(votes, ["ours", "theirs"]))
    return served(lambda port: study_page.serve(made, port)), made


def test_what_no_page_of_this_machine_sends_is_refused(page: Page):
    for own in ({}, {"Host": "localhost:{port}"}, {"Host": "127.0.0.1:{port}", "Origin": "http://localhost:{port}"}):
        assert page.ask("GET", "/config", **own)[0] == 200
    upload = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\nhi\r\n--x--\r\n'
    for foreign in NOT_OURS:
        assert page.ask("GET", "/config", **foreign)[0] in (400, 403), foreign
        sent = {"Content-Type": "multipart/form-data; boundary=x", **foreign}
        assert page.ask("POST", "/gradio_api/upload", upload, **sent)[0] in (400, 403), foreign


def test_no_other_page_votes(study: tuple[Page, Questionnaire], votes: Path):
    page, made = study
    question = made.question(RATER)
    assert question is not None
    before = votes.read_text()
    body = json.dumps({"data": [RATER, question.token]}).encode()
    for foreign in NOT_OURS:
        sent = {"Content-Type": "application/json", **foreign}
        assert page.ask("POST", "/gradio_api/run/pick_0", body, **sent)[0] in (400, 403), foreign
    assert votes.read_text() == before
    assert page.call("pick_0", RATER, question.token)[0] == 200
    assert made.question(RATER) is None


def test_no_file_but_what_is_shown_is_given(page: Page, runs: Path, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret.png").write_text("a key")
    weights = runs / "cells" / IDENTITY / "network.safetensors"
    for path in (
        tmp_path / "secret.png",
        Path("secret.png"),
        Path("/etc/passwd"),
        weights,
        Path("../../../etc/passwd"),
    ):
        assert page.ask("GET", f"/gradio_api/file={path}")[0] in (400, 403, 404), path
        photo = {"path": str(path), "meta": {"_type": "gradio.FileData"}}
        status, told = page.call("derain_0", photo, [f"unet_tiny {IDENTITY}"])
        assert status == 500, told
        assert "secret" not in told
        assert "root:" not in told
    address = {"path": "a.png", "url": f"http://127.0.0.1:{page.port}/config", "meta": {"_type": "gradio.FileData"}}
    assert page.call("derain_0", address, [f"unet_tiny {IDENTITY}"])[0] == 500


def test_a_name_of_an_upload_leads_nowhere(page: Page, tmp_path: Path):
    before = sorted(tmp_path.rglob("*"))
    name = "../" * 12 + str(tmp_path / "made.png").lstrip("/")
    body = f'--x\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\nhi\r\n--x--\r\n'.encode()
    status, told = page.ask("POST", "/gradio_api/upload", body, **{"Content-Type": "multipart/form-data; boundary=x"})
    assert status == 200
    assert Path(json.loads(told)[0]).name == "made.png"
    assert sorted(tmp_path.rglob("*")) == before


def test_whatever_is_sent_is_no_vote_and_no_crash(study: tuple[Page, Questionnaire], votes: Path):
    """A hundred requests; the page goes on answering, and only what was shown is voted on."""
    page, made = study
    before = votes.read_text()
    values = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20)
    values |= st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=5), values, max_size=3)

    @settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(["pick_0", "pick_1", "show", "nothing"]), st.lists(values, max_size=3))
    def check(name: str, data: list[object]) -> None:
        page.call(name, *data)
        assert votes.read_text() == before

    check()
    question = made.question(RATER)
    assert question is not None
    assert page.call("pick_0", RATER, question.token)[0] == 200
    assert votes.read_text() != before
