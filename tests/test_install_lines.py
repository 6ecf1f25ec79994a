"""No text of ours installs ``slackoff`` by name: in the public registry that is another project."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from slackoff import __version__
from slackoff.record.environment import describe_environment

ROOT = Path(__file__).parents[1]
FOREIGN = re.compile(
    r"""\bslackoff\\?\[|\b(?:pip|pipx|uv|conda)\b[^'"`&|;]*\b(?:install|add)\b[^'"`&|;]*\s['"]?slackoff(?:['"`\s=<>~!]|$)"""
)
"""With an extra anywhere, or as what an installer is given."""


@pytest.fixture(scope="module")
def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_no_text_installs_the_project_by_its_import_name():
    try:
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this is no git checkout: which files are ours is not known")
    found = []
    for name in filter(None, listed.split("\0")):
        path = ROOT / name
        if path.is_file() and b"\0" not in (content := path.read_bytes()):
            lines = content.decode("utf-8", "replace").splitlines()
            found += [f"{name}:{number}" for number, line in enumerate(lines, 1) if FOREIGN.search(line)]
    assert found == []


@pytest.mark.parametrize(
    ("line", "foreign"),
    [
        ("pip install 'SLACKOFF[demo]'", True),
        (r"match=r'SLACKOFF\[demo\]'", True),
        ('test = ["SLACKOFF[demo]"]', True),
        ("pip install SLACKOFF", True),
        ("python -m pip install --upgrade 'SLACKOFF'", True),
        ("pip install SLACKOFF==0.1", True),
        ("uv add SLACKOFF", True),
        ("run `pip install SLACKOFF`", True),
        ("conda install -c forge SLACKOFF", True),
        ("pip install 'SLACKOFF-derain[demo]'", False),
        (".venv/bin/pip install -e '.[demo]'", False),
        ("pip install -e . && python -m SLACKOFF", False),
        ('run.config["SLACKOFF"]["study"]', False),
    ],
)
def test_the_search_tells_a_foreign_install_line(line: str, foreign: bool):
    assert bool(FOREIGN.search(line.replace("SLACKOFF", "slackoff"))) == foreign


def test_extras_of_ours_name_our_own_distribution(project):
    required = [Requirement(text) for texts in project["optional-dependencies"].values() for text in texts]
    assert project["name"] == "slackoff-derain"
    assert "slackoff" not in {canonicalize_name(requirement.name) for requirement in required}
    named = set().union(*(found.extras for found in required if canonicalize_name(found.name) == project["name"]))
    assert named == {"slurm", "dashboards", "demo", "export", "heic", "optuna", "test"}
    assert named <= set(project["optional-dependencies"])


def test_every_install_line_of_the_docs_names_an_extra_that_there_is(project):
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))]
    extras = {name for text in texts for group in re.findall(r"'\.\[([\w,]+)\]'", text) for name in group.split(",")}
    assert len(extras) >= 6
    assert extras <= set(project["optional-dependencies"])


def test_a_record_has_our_version_whatever_the_distribution_is_called():
    assert describe_environment()["packages"]["slackoff"] == __version__
