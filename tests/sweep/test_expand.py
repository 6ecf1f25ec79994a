"""Expanded configs are those that Hydra and OmegaConf compose and resolve themselves, job by job."""

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import OmegaConf

from slackoff.errors import SlackoffError
from slackoff.sweep.expand import Expander, NotGivenError

Grow = Callable[..., Expander]


def reference(overrides: Sequence[str]) -> object:
    """What Hydra and OmegaConf make of a job, or the kind of their refusal."""
    try:
        config = compose("config", list(overrides))
        assert "???" not in OmegaConf.to_yaml(config), "a value is missing"
        return OmegaConf.to_container(config, resolve=True)
    except Exception as error:
        return HydraException if isinstance(error, HydraException) else SlackoffError


def assert_as_hydra(expander: Expander, overrides: Sequence[str]) -> object:
    """Compare twice, because the second time comes from the cache."""
    expected = reference(overrides)
    for _ in range(2):
        try:
            found: object = expander(overrides)
        except (HydraException, SlackoffError) as error:
            found = HydraException if isinstance(error, HydraException) else SlackoffError
        assert repr(found) == repr(expected), (
            overrides
        )  # 1, 1.0 and true are equal in Python; in their repr they differ
    return expected


@pytest.fixture
def grow(tmp_path: Path) -> Iterator[Grow]:
    """Makes a small tree from the texts of its files, and an expander of it."""
    context = initialize_config_dir(str(tmp_path), version_base="1.3")

    def make(**changed: str) -> Expander:
        for name, text in {**TREE, **changed}.items():
            path = tmp_path / f"{name}.yaml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        context.__enter__()
        groups = GlobalHydra.instance().config_loader().list_groups("")
        return Expander(lambda overrides: compose("config", overrides), groups)

    yield make
    context.__exit__(None, None, None)


SCALARS = {
    "seed": ["0", "3", "-7"],
    "runs": ["elsewhere", "/tmp/a b", "'5'"],
    "data_root": ["photos", "null"],
    "background.patch_count": ["8", "30000", "many"],
    "background.root": ["here", "'${data_root}/x'"],
    "background.held_out": ["1", "0.25"],
    "roots.celeba": ["faces"],
    "schedule.steps": ["100", "1e3", "2.5"],
    "schedule.learning_rate": ["2e-3", "0.1"],
    "task.betas": ["[0.5,0.9]"],
    "fixed_rain_per_patch": ["true", "no"],
    "study.title": ["'a, b'", "Title"],
    "network.widht": ["3"],
    "rain.length": ["[20,40]", "5"],
    "weighting@task.weighting": ["lb", "gb"],
}


def random_job(conf: Path, draw: random.Random) -> list[str]:
    groups = ("background", "evaluation", "network", "rain", "size", "task", "experiment")
    job = []
    for group in draw.sample(groups, draw.randint(1, 4)):
        choices = sorted(path.stem for path in (conf / group).glob("*.yaml"))
        job.append(f"{'+' if group == 'experiment' else ''}{group}={draw.choice(choices)}")
    for key in draw.sample(sorted(SCALARS), draw.randint(0, 5)):
        job.append(f"{key}={draw.choice(SCALARS[key])}")
    draw.shuffle(job)
    return job


def test_random_jobs_over_all_groups_are_what_hydra_makes_of_them(expander: Expander, conf: Path) -> None:
    draw = random.Random(5)
    kinds = Counter(type(assert_as_hydra(expander, random_job(conf, draw))) for _ in range(16))
    assert min(kinds[dict], kinds[type]) >= 3  # some jobs are refused, most are not


def test_files_are_composed_once_and_equal_parts_are_one_object(expander: Expander) -> None:
    compositions = Counter[str]()
    expander.compose = lambda overrides: compositions.update(overrides) or compose("config", overrides)
    jobs = [[f"seed={seed}", f"network={network}"] for seed in range(3) for network in ("unet", "resnet")]
    configs = [expander(job) for job in jobs]
    assert compositions == {"network=unet": 1, "network=resnet": 1}
    assert [config["background"]["seed"] for config in configs] == [0, 0, 1, 1, 2, 2]
    assert configs[0]["network"] is configs[2]["network"] is not configs[1]["network"]
    assert configs[0]["background"]["source"] is configs[5]["background"]["source"]


TREE = {
    "config": """
defaults: [{a: one}, {b: one}, _self_]
seed: 0
text: none
must: given
"again": ${seed}
path: ${text}/${seed}/end
inner: {seed: "${seed}", deeper: {text: "x${.number}y", number: 4}}
table: {k1: first, k2: second}
pick: k1
picked: ${table.${pick}}
list: [1, "${seed}", {c: "${seed}-${seed}"}]
escaped: \\${seed}
home: ${oc.env:HOME}/${text}
hydra: {run: {dir: .}, output_subdir: null}
""",
    "a/one": "value: 1\nlink: ${seed}\n",
    "a/two": "defaults: [one]\nvalue: 2\nextra: ${b.value}\n",
    "b/one": "value: 10\n",
    "b/two": "value: 20\nextra: ${a.value}\n",
    "b/missing": "value: ???\n",
    "wide/on": "# @package _global_\nseed: 9\na: {value: 90}\n",
}
VALUES = ["3", "-3", "+3", "1_000", "'3'", "3.0", "1e-3", "-0", "inf", "true", "False", "null", "word", "with-hyphen"]
VALUES += ["a/b.c", "'a b'", '"quo\'ted"', "", "'\\'", "back\\\\slash", "[1,2]", "{x:1}", "${seed}", "'${text}'", "???"]
UNUSUAL = """
pick=k2 | pick=k3 | table.k1=new | table.k1=new pick=k1 | table={k1:a} table.k1=b | table.k1=b table={k1:a} | table=5
seed=1 seed=2 | ~text seed=1 | +new=1 seed=1 | ++seed=1 seed=2 | seed=2 ++seed=1 | +seed=1 | seed
list.0=7 | list.2.c=7 | list=[${seed}] seed=3 | nowhere=1 | inner.nowhere=1 | inner.nowhere=1 a=three | home=here
a=three | a=two a=one | a='two' a.value=5 | a=two a.value=5 b=two | a={value:5} a.value=6 | a.value=6 a={value:5} | ~a
a@b=two | a@c=two | +a@c=two c.value=3 | a/two=3 | seed=1,2 | hydra.job.name=x | hydra/output=x | hydra.nowhere=1
b=missing | b=missing b.value=3 | must=??? | +wide=on a=two | +wide=on a.value=7 seed=4 | wide=on | escaped=1
"""


def test_a_value_has_its_type_wherever_it_is_referred_to(grow: Grow) -> None:
    expander = grow()
    for value in VALUES:
        assert_as_hydra(expander, [*(f"{key}={value}" for key in ("seed", "text", "inner.deeper.number")), "a=two"])


def test_unusual_overrides_mean_what_hydra_takes_them_for(grow: Grow) -> None:
    expander = grow()
    for job in UNUSUAL.replace("\n", "|").strip("|").split("|"):
        assert_as_hydra(expander, job.split())


BOTH = {"config": TREE["config"].replace("_self_]", "_self_, {optional both: '${a}_${b}'}]")}
DEPENDENT = {
    "a file that writes elsewhere": {"a/two": "# @package _global_\na: {value: 2}\nb: {more: 5}\n", "b/one": "more: 1"},
    "a defaults list that refers to choices": {**BOTH, "both/two_two": "# @package _global_\nsurprise: 1\n"},
    "a file that builds on another group": {"a/two": "defaults: [/b@b: two]\nvalue: 2\n"},
}


@pytest.mark.parametrize("change", DEPENDENT.values(), ids=DEPENDENT.keys())
def test_choices_that_depend_on_each_other(grow: Grow, change: dict[str, str]) -> None:
    expander = grow(**change)
    for job in (["a=one", "b=two"], ["a=two", "b=one"], ["a=two", "b=two"]):
        assert isinstance(assert_as_hydra(expander, [*job, "seed=3"]), dict)


def test_a_resolver_may_do_anything_with_a_value(grow: Grow) -> None:
    OmegaConf.register_new_resolver("test_is_three", lambda value: value == 3, replace=True)
    expander = grow(config=f"{TREE['config']}\nthree: ${{test_is_three:${{seed}}}}\n")
    for value in (3, 4):
        assert_as_hydra(expander, [f"seed={value}"])


@dataclass
class Schema:
    """A typed node, as a program's own config store may have it."""

    number: int = 0


def test_a_typed_node_converts_its_values(grow: Grow) -> None:
    ConfigStore.instance().store(group="typed", name="schema", node=Schema)
    expander = grow()
    assert assert_as_hydra(expander, ["+typed=schema", "typed.number='3'"])["typed"] == {"number": 3}  # type: ignore[index]
    assert assert_as_hydra(expander, ["+typed=schema", "typed.number=x"]) is HydraException


def test_a_missing_value_is_named(grow: Grow) -> None:
    with pytest.raises(NotGivenError, match=r"^b\.value is not given: add b\.value="):
        grow()(["b=missing", "seed=1"])
