"""The instruments that judge how the code is arranged, and the drawing of its rooms."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # benchmarks/ is not part of the package

from benchmarks import architecture, structure  # noqa: E402

MODULE = '''"""Two lines
of words."""

import os

# a comment
NAME = """a
string"""  # and code


def public(first):
    """One line."""
    return os.path.join(first, NAME)
'''


def test_the_drawing_shows_the_rooms_and_arrows_of_the_code() -> None:
    """Draw it again where this fails: python -m benchmarks.architecture."""
    assert architecture.drawn() == architecture.read(ROOT).listed()


def test_arrows_lead_downwards_from_row_to_row() -> None:
    house = architecture.read(ROOT)
    row = {room: number for number, rooms in enumerate(house.rows) for room in rooms}
    assert row.keys() == house.sizes.keys()
    assert {(of, to) for of, to in house.arrows if row[of] >= row[to]} == set()


def test_an_arrow_is_implied_by_others_through_rooms_between() -> None:
    pairs = [("attic", "hall"), ("hall", "stairs"), ("stairs", "cellar"), ("attic", "cellar"), ("hall", "garden")]
    house = architecture.Architecture([], {}, dict.fromkeys(pairs, 1))
    assert [pair for pair in pairs if house.implied(*pair)] == [("attic", "cellar")]


def test_a_room_without_a_layer_is_named(tmp_path: Path) -> None:
    (tmp_path / "src/slackoff").mkdir(parents=True)
    (tmp_path / "src/slackoff/attic.py").touch()
    (tmp_path / ".importlinter").write_text("[importlinter:contract:layers]\nlayers =\n    cellar\n")
    with pytest.raises(ValueError, match="no layer for attic"):
        architecture.read(tmp_path)


def test_lines_are_of_four_kinds() -> None:
    found = structure.sizes({"slackoff/a.py": MODULE, "slackoff/__init__.py": ""})
    assert [found[f"lines: {kind}"] for kind in ("code", "docstring", "comment", "blank")] == [5, 3, 1, 4]
    assert (found["files"], found["lines"], found["median lines of a file"]) == (2, 13, 13)
    assert found["files under 100 lines"] == 1


def test_arrows_are_found_wherever_an_import_stands() -> None:
    files = {
        "slackoff/__init__.py": "",
        "slackoff/cellar.py": "import os\nfrom slackoff import attic\n",
        "slackoff/attic.py": "",
        "slackoff/hall/__init__.py": "from .stairs import up\n",
        "slackoff/hall/stairs.py": "def up():\n    from slackoff.attic import roof\n    import slackoff.cellar\n",
        "slackoff/hall/floor/wood.py": "from ..stairs import up\nfrom ...attic import roof\n",
    }
    assert structure.arrows(files) == {("cellar", "attic"): 1, ("hall", "attic"): 2, ("hall", "cellar"): 1}
    assert {room: len(paths) for room, paths in structure.rooms(files).items()} == {"cellar": 1, "attic": 1, "hall": 3}


def test_public_docstrings_that_are_lost_are_named_wherever_they_move() -> None:
    before = 'class A:\n    """A."""\n    def go(self):\n        """Go."""\n    def _hidden(self):\n        """No."""\n'
    before += 'def moved():\n    """Here."""\ndef gone():\n    """Here."""\ndef bare():\n    pass\n'
    after = {
        "slackoff/b.py": 'class A:\n    """A."""\n    def go(self):\n        pass\ndef moved():\n    """There."""\n'
    }
    found = structure.lost({"slackoff/a.py": before}, after)
    assert found == ["method slackoff.a:A.go (there, without a docstring)", "function slackoff.a:gone (nowhere)"]
    assert sum(documented for *_, documented in structure.definitions({"slackoff/a.py": before})) == 4


def test_what_is_written_twice_is_counted_once_a_line() -> None:
    body = "    a = f(1)\n    b = f(2)\n    c = f(3)\n    d = f(4)\n    return a + b + c + d\n"
    other = body.replace("f(", "g(").replace("1", "'x'")
    same = {"slackoff/a.py": f"def one(f):\n{body}", "slackoff/b.py": f"import os\ndef two(f):\n{body}"}
    assert structure.lines_twice(same) == 10
    shaped = {"slackoff/a.py": f"def one(f):\n{body}", "slackoff/b.py": f"def two(g):\n{other}"}
    assert structure.lines_twice(shaped) == 0
    assert structure.lines_twice(shaped, window=6, blanked=True) == 12
    assert structure.functions_of_one_shape(shaped) == (1, 5)
    assert structure.functions_of_one_shape({**same, "slackoff/c.py": "def three(f):\n    return f(1)\n"}) == (1, 5)
    inside = {"a.py": "def f(x):\n    if x:\n        a = 1\n        b = 2\n    c = 3\n    d = 4\n"}
    beside = {"b.py": inside["a.py"].replace("        b", "    b")}
    assert structure.functions_of_one_shape({**inside, "c.py": inside["a.py"].replace("x", "y")}) == (1, 5)
    assert structure.functions_of_one_shape({**inside, **beside}) == (0, 0)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_tree_is_measured() -> None:
    found = structure.measure(ROOT)
    for way in ("command to step", "record to curve"):
        assert (
            0 < found[f"{way}: files called"] <= found[f"{way}: files loaded"] <= len(structure.sources(ROOT / "src"))
        )
    assert found["plan 150 cells, s"] > 0
    assert found["start of a cell, s"] > 0


def test_errors_are_made_where_the_code_runs() -> None:
    pytest.importorskip("cosmic_ray", reason="the extra mutants is not installed")
    from benchmarks.mutants import mutants_of

    found = list(mutants_of("slackoff/a.py", "def f(a: 1 | 2 = 3) -> 4:\n    return a < 5\n"))
    assert {(each.line, each.column) for each in found if "Number" in each.operator} == {(1, 17), (2, 15)}
    assert {each.operator for each in found if "BinaryOperator" in each.operator} == set()
    assert "core/ReplaceComparisonOperator_Lt_GtE" in {each.operator for each in found}
