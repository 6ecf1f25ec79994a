"""Paths on the command line reach the config as they were typed, whatever a folder is called."""

import os
import sys
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from slackoff.cli.hydra_app import overrides_last, run, with_quoted_paths

PARSER = OverridesParser.create()


@given(st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1).filter(lambda t: "${" not in t))
def test_any_path_arrives_as_it_was_typed(name: str):
    path = f"/data/{name}"
    (override,) = with_quoted_paths([f"runs={path}"])
    assert PARSER.parse_override(override).value() == path


@pytest.mark.parametrize("name", ["3", "true", "1e5", ".5", "null ", "~x", "Nan", "-1"])
def test_a_folder_whose_name_looks_like_a_value(name: str):
    (override,) = with_quoted_paths([f"runs={name}"])
    assert PARSER.parse_override(override).value() == name


@pytest.mark.parametrize("key", ["background.root", "+start_from", "roots.div2k", "data_root", "study.manifest"])
def test_every_key_of_a_path(key: str):
    (override,) = with_quoted_paths([f"{key}=~/photos (new) #1, été"])
    assert PARSER.parse_override(override).value() == str(Path.home() / "photos (new) #1, été")


def test_a_comma_separates_the_values_of_a_multirun_alone():
    _, override = with_quoted_paths(["-m", "background.root=a b,~/c"])
    swept = PARSER.parse_override(override)
    assert [getattr(item, "text", item) for item in swept.value().list] == ["a b", f"{Path.home()}/c"]
    (single,) = with_quoted_paths(["background.root=a,b"])
    assert PARSER.parse_override(single).value() == "a,b"


@pytest.mark.parametrize("written", ["runs='a b'", 'runs="a,b"', "runs=${data_root}/x", "start_from=null", "seed=1,2"])
def test_what_is_written_for_hydra_stays(written: str):
    assert with_quoted_paths([written]) == [written]


def test_a_folder_of_configs_with_an_equals_sign_stays_behind_its_flag():
    command = ["seed=1", "--config-dir", "/a=b", "-m"]
    assert overrides_last(command) == ["--config-dir", "/a=b", "-m", "seed=1"]


def test_a_folder_whose_name_is_not_utf8_is_refused_in_a_sentence(monkeypatch, capsys):
    """The configs of the record are UTF-8, and so is what stands in them."""
    monkeypatch.setattr(sys, "argv", ["slackoff", os.fsdecode(b"background.root=/data/\xff")])
    with pytest.raises(SystemExit) as ended:
        run()
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith(r"error: background.root=/data/\xff is not UTF-8")
