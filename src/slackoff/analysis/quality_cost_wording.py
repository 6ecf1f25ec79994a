"""What a page says about quality against cost: the answer, the caption of the scatter, and the table as text."""

import math
from typing import Literal

import pandas as pd
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from slackoff.analysis.groups import TEST_SET
from slackoff.analysis.network_costs import NetworkCosts
from slackoff.analysis.quality_cost import NETWORK, headline
from slackoff.analysis.runtime.tables import significant
from slackoff.analysis.summary import DO_NOTHING, ORACLES, measures_of
from slackoff.analysis.tables import heading
from slackoff.analysis.wording import NO_NUMBER, decimals, name, number
from slackoff.metrics.columns import COLUMNS


def caption(costs: NetworkCosts, settings: int) -> str:
    """What dots, lines and steps are, and where the seconds come from."""
    over = f"the {settings} settings" if settings > 1 else "the one setting"
    return (
        f"A dot is a network: its mean over {over} and the test images; the line reaches from its worst setting to its "
        "best. The larger a dot, the more parameters. The steps are the highest PSNR that so many seconds buy. Dashed: "
        f"the untouched input. Seconds: one image of {costs.size_px} px a side at a time, {costs.hardware}, networks "
        "in turn, median of the rounds. Also as tables/quality_cost.csv."
    )


def answers(table: pd.DataFrame) -> list[str]:
    """For each test set: which network removes most, which has the best PSNR, how many are better than the input."""
    found = []
    for test_set, rows in table.groupby(TEST_SET, sort=False):
        networks = rows[rows[NETWORK] != DO_NOTHING]
        _, fidelity = headline(table)
        untouched = float(rows.loc[rows[NETWORK] == DO_NOTHING, fidelity].iloc[0])
        more = f"{int((networks[fidelity] > untouched).sum())} of {networks[fidelity].notna().sum()} networks have more"
        found.append(
            f"On {test_set}, {_most_removed(networks)}, and {_best(networks, fidelity)}, where the untouched input has "
            f"{number(untouched, decimals(fidelity))}; {more}."
        )
    return found


def readable_quality_cost(table: pd.DataFrame) -> pd.DataFrame:
    """The table as text: of each measure the mean over settings, with the oracle in brackets, over its interval."""
    rows = []
    several = table[TEST_SET].nunique() > 1
    for _, row in table.iterrows():
        text = {TEST_SET: row[TEST_SET]} if several else {}
        text |= {NETWORK: _named(row), "parameters": _count(row["parameters"])}
        text |= {"GFLOPs": significant(row["gflops"]), "s/image": significant(row["seconds"])}
        text |= {heading(measure): _entry(row, measure) for measure in measures_of(table)}
        rows.append(text)
    return pd.DataFrame(rows)


def _most_removed(networks: pd.DataFrame) -> str:
    """As `_best`, with what the perfect output has, which more is not better than, and with E_B, which it costs."""
    placed = networks.dropna(subset=["removal_share"])
    if not len(placed):
        return "no network has a removal share"
    row = placed.loc[placed["removal_share"].idxmax()]
    oracle, cost = number(float(row["removal_share_oracle"]), 2), number(float(row["e_b"]), 1)
    return f"{_best(networks, 'removal_share')}, where the perfect output has {oracle}, at an E_B of {cost} grey levels"


def _best(networks: pd.DataFrame, measure: str) -> str:
    """'spdnet has the highest removal share, 0.81 (0.79 to 0.83)'."""
    placed = networks.dropna(subset=[measure])
    if not len(placed):
        return f"no network has {name(measure)}"
    row = placed.loc[placed[measure].idxmax()]
    low, mean, high = (number(float(row[f"{measure}{end}"]), decimals(measure)) for end in ("_low", "", "_high"))
    unit = f" {COLUMNS[measure].unit}" if COLUMNS[measure].unit else ""
    bounds = "" if math.isnan(float(row[f"{measure}_low"])) else f" ({low} to {high})"
    return f"{row[NETWORK]} has the highest {name(measure).removeprefix('the ')}, {mean}{unit}{bounds}"


def _named(row: pd.Series) -> str:
    if row[NETWORK] == DO_NOTHING or row["done"] == row["settings"]:
        return str(row[NETWORK])
    return f"{row[NETWORK]} ({row['done']:.0f} of {row['settings']:.0f} settings)"


def _count(parameters: float) -> str:
    return NO_NUMBER if math.isnan(parameters) else f"{parameters:,.0f}"


def _entry(row: pd.Series, measure: str) -> str:
    places = decimals(measure)
    text = number(float(row[measure]), places)
    if measure in ORACLES:
        text += f" ({number(float(row[f'{measure}_oracle']), places)})"
    low, high = float(row[f"{measure}_low"]), float(row[f"{measure}_high"])
    return text if math.isnan(low) else f"{text}\n{number(low, places)} to {number(high, places)}"


def print_quality_cost(table: pd.DataFrame, console: Console) -> None:
    """Prints the table to a terminal, a line a network and a table a test set, without the intervals."""
    for test_set, rows in table.groupby(TEST_SET, sort=False):
        text = readable_quality_cost(rows.reset_index(drop=True))
        title = f"Quality against cost on {escape(str(test_set))}"
        shown = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for column in text:
            justify: Literal["left", "right"] = "left" if column == NETWORK else "right"
            shown.add_column(column.partition(" (")[0], justify=justify, no_wrap=column in (NETWORK, "parameters"))
        for row in text.itertuples(index=False):
            shown.add_row(*(escape(str(entry).partition("\n")[0].partition(" (")[0]) for entry in row))
        console.print(shown)
