"""The LaTeX macros of a study: names of letters, each once, that a reader of the tables can guess; no commands."""

import re
from pathlib import Path

import pytest
from analysis_record import Cell, MakeFrames, counts

from slackoff.analysis.macros import camel, macros
from slackoff.analysis.page import Findings
from slackoff.analysis.report import build, tables_of

LINE = re.compile(r"\\newcommand\{\\([A-Za-z]+)\}\{(.*)\}")
VALUE = re.compile(
    r"--|[a-z ]+|-?\d+(\.\d+)?|\\ensuremath\{-?[\d.]+(\\cdot 10\^\{-?\d+\})?\}|(\\[&%$#_{}]|\\text[a-z]+\{\}|[\w ./-])*"
)


def defined(text: str) -> dict[str, str]:
    """Name -> text, read as strictly as TeX would: one command a line, each name once, no comment but whole lines."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        if line and not line.startswith("% "):
            match = LINE.fullmatch(line)
            assert match, line
            name, value = match.groups()
            assert name not in found, f"\\{name} is defined twice"
            assert VALUE.fullmatch(value), line
            bare = re.sub(r"\\[{}]", "", value)
            assert bare.count("{") == bare.count("}")
            found[name] = value
    return found


def of(frames) -> dict[str, str]:
    found = Findings.of(frames)
    return defined(macros(found, tables_of(found)))


def test_numbers_are_those_of_the_table_under_names_that_say_where(frames_of: MakeFrames):
    frames = frames_of(counts(e_r=[48.0, 40.0, 36.0], share=[0.7, 0.65, 0.6], e_b=[26, 12, 10], psnr=[21.0, 27, 28]))
    names = of(frames)
    table = Findings.of(frames).table
    row = table[table["patch_count"] == 64].iloc[0]
    assert names["PatchcountNSixFourER"] == "40.0"
    assert names["PatchcountNSixFourERLow"] == f"{row['e_r_low']:.1f}"
    assert names["PatchcountNSixFourERHigh"] == f"{row['e_r_high']:.1f}"
    assert names["PatchcountNSixFourEROracle"] == "40.0"
    assert names["PatchcountNOneZeroTwoFourPsnrRgb"] == "28.00"
    assert names["PatchcountNOneZeroTwoFourRemovalShare"] == "0.60"
    assert names["PatchcountRainyInputPsnrRgb"] == "25.50"
    assert names["PatchcountRainyInputEB"] == "--"
    assert names["PatchcountNEightThresholdFiveZeroER"] == "63.0"
    assert names["PatchcountClaimERFallsVerdict"] == "supported"
    assert names["PatchcountClaimERFallsEffect"] == r"\ensuremath{-12.0}"
    assert (names["PatchcountCells"], names["PatchcountCellsDone"], names["PatchcountImages"]) == ("3", "3", "20")


def test_labels_stand_in_the_names_and_what_is_not_known_is_a_dash(frames_of: MakeFrames):
    cells = [
        Cell({"patch_count": n, "network": network, "dropout": 0.5, "deep": deep}, state=state)
        for n in (8, 64)
        for network, deep, state in (("re_scan", True, "done"), ("unet", False, "failed"))
    ]
    names = of(frames_of(cells))
    assert names["PatchcountReScanDeepTrueNEightER"] == "40.0"
    assert names["PatchcountUnetDeepFalseNEightER"] == "--"
    assert names["PatchcountClaimReScanDeepTrueERFallsVerdict"] == "not enough data"


def test_whatever_a_study_is_called_nothing_of_it_is_a_command(frames_of: MakeFrames):
    evil = "100%_of\n\\input{/etc/passwd} } $x^2$ é"
    cells = [Cell({"patch_count": 8, "network": name}, label={"network": name}) for name in (evil, "a b", "a-b", "été")]
    frames = frames_of(cells, title=evil, experiment=evil, size=evil)
    names = of(frames)
    (prefix,) = {name.removesuffix("CellsDone") for name in names if name.endswith("CellsDone")}
    assert prefix == "OneZeroZeroOfInputEtcPasswdXTwoUTwoZeroOne"
    assert {f"{prefix}ABNEightER", f"{prefix}ABNEightERAgain"} <= names.keys()  # two networks of the same letters
    assert "\\input" not in "".join(names.values())


def test_the_report_writes_them(frames_of: MakeFrames, without_figures: None):
    frames = frames_of(counts(e_r=[48.0, 40.0, 36.0]))
    build(frames.study.folder)
    text = (Path(frames.study.folder) / "tables" / "numbers.tex").read_text()
    assert defined(text)["PatchcountNEightER"] == "48.0"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("e_r_low", "ERLow"),
        ("N = 1024", "NOneZeroTwoFour"),
        ("0.5", "ZeroPointFive"),
        ("-3", "MinusThree"),
        ("rain100l", "RainOneZeroZeroL"),
        ("32-true", "ThreeTwoTrue"),
        ("", ""),
    ],
)
def test_words_become_names(text: str, name: str):
    assert camel(text) == name
