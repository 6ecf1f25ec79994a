"""slackoff as a library: the examples of docs/library.md run as they stand, and rooms that promise so stay light."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from analysis_record import counts, write_study
from hydra import compose, initialize_config_dir
from PIL import Image
from skimage.data import astronaut

import slackoff.analysis
import slackoff.metrics
from slackoff.networks import PReNet
from slackoff.rain import TABLE_1, RainRange

PAGE = Path(__file__).parents[2] / "docs" / "library.md"


def test_the_examples_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runs: Path) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(astronaut()[60:156, 160:288]).save("photo.png")
    torch.manual_seed(0)
    torch.save(PReNet().state_dict(), "net_latest.pth")
    write_study(runs, counts(e_r=[48.0, 40.0, 36.0], share=[0.70, 0.65, 0.60], e_b=[26.0, 12.0, 10.0]))
    names: dict[str, Any] = {}
    examples = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(examples) == 6
    for example in examples:
        exec(compile(example, str(PAGE), "exec"), names)
    photo, rain, rainy = (names[name] for name in ("photo", "rain", "rainy"))
    assert photo.shape == rainy.shape == (1, 3, 96, 128)
    assert torch.equal(rainy, (photo + rain).clamp(0, 1))
    measured = {name: float(value) for name, value in names["measures"].compute().items()}
    inside = (rain * 255 > 10.001).expand_as(rainy)
    change = (names["derained"].clamp(0, 1) * 255).round() - (rainy * 255).round()
    assert measured["RainRemovalError"] == pytest.approx(float(change[inside].square().mean().sqrt()), rel=1e-3)
    assert all(parameter.grad is not None for parameter in names["same"].parameters())
    assert names["table"]["e_r"].tolist() == pytest.approx([0, 48, 40, 36])  # the first: what does nothing
    assert Path("curves.png").stat().st_size > 10_000


@pytest.mark.parametrize("name", ["small", "medium", "large"])
def test_the_ranges_of_table_1_are_those_of_the_configs(name: str, conf: Path) -> None:
    with initialize_config_dir(str(conf), version_base="1.3"):
        node = compose(f"rain/{name}").rain
    ranges = (tuple(node[key]) for key in ("quantity", "width", "length", "angle_deg"))
    assert TABLE_1[name] == RainRange(*ranges, legacy_scale=node.legacy_scale)


def test_rooms_for_use_alone_load_no_framework() -> None:
    code = f"import {', '.join(f'slackoff.{room}' for room in ('rain', 'images', 'metrics', 'networks', 'losses'))}"
    code += (
        "\nimport sys; print([n for n in ('lightning', 'hydra', 'omegaconf', 'wandb', 'pandas') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_importing_what_draws_and_counts_waits_until_it_is_asked_for() -> None:
    code = "import sys, slackoff.metrics, slackoff.analysis; print({'torch', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
    for room in (slackoff.metrics, slackoff.analysis):
        assert all(callable(getattr(room, name)) for name in room.__all__)
        with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
            _ = room.nothing
