import pytest
from formula_weights import formula_input


def test_the_input_is_the_one_the_figures_were_recorded_with():
    x = formula_input()
    found = [x.mean(), x.std(correction=0), x.min(), x.max(), x[0, 0, 0, 0], x[0, 2, 39, 55]]
    expected = [0.4992143, 0.2698503, 0.0011696, 0.9992396, 0.65, 0.0807259]
    assert [value.item() for value in found] == pytest.approx(expected, abs=5e-8, rel=1e-6)
