"""Expanded configs are those that Hydra and OmegaConf compose and resolve themselves, job by job."""

import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from slackoff.errors import SlackoffError
from slackoff.sweep.compositions import Compositions
from slackoff.sweep.expand import Config, Expander, NotGivenError


class Tree:
    """A config tree with an expander that counts Hydra's compositions."""

    def __init__(self) -> None:
        self.compositions = 0
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        self.expander = Expander(Compositions(self.compose, hydra.config_loader, "config"))

    def expand(self, overrides: list[str]) -> Config:
        return next(self.expander([overrides]))

    def compose(self, overrides: list[str]) -> DictConfig:
        self.compositions += 1
        return compose("config", overrides)


def reference(overrides: list[str]) -> object:
    """What Hydra and OmegaConf make of a job, or the kind of their refusal."""
    try:
        config = compose("config", overrides)
        content = OmegaConf.create({key: config._get_node(key) for key in config})
        assert "???" not in OmegaConf.to_yaml(content), "a value is missing"
        return OmegaConf.to_container(content, resolve=True)
    except Exception as error:
        return HydraException if isinstance(error, HydraException) else SlackoffError


def expanded(tree: Tree, overrides: list[str]) -> object:
    try:
        return tree.expand(overrides)
    except HydraException:
        return HydraException
    except SlackoffError:
        return SlackoffError


def typed(content: object) -> object:
    """1, 1.0 and true are equal in Python; here they are not."""
    if isinstance(content, dict):
        return {key: typed(value) for key, value in content.items()}
    if isinstance(content, list):
        return [typed(value) for value in content]
    return content if isinstance(content, type) else (type(content).__name__, content)


@pytest.fixture
def real(conf: Path) -> Iterator[Tree]:
    with initialize_config_dir(str(conf), version_base="1.3"):
        yield Tree()


@pytest.fixture
def grown(tmp_path: Path) -> Iterator[Callable[[dict[str, str]], Tree]]:
    """Makes a small tree from the texts of its files."""

    def grow(files: dict[str, str]) -> Tree:
        for name, text in files.items():
            path = tmp_path / f"{name}.yaml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        context.__enter__()
        return Tree()

    context = initialize_config_dir(str(tmp_path), version_base="1.3")
    yield grow
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


def test_random_jobs_over_all_groups_are_what_hydra_makes_of_them(real: Tree, conf: Path) -> None:
    draw = random.Random(5)
    jobs = [random_job(conf, draw) for _ in range(12)]
    kinds = set()
    for job in jobs:
        expected = reference(job)
        kinds.add(type(expected))
        assert typed(expanded(real, job)) == typed(expected), job
    assert kinds == {dict, type}  # some jobs are refused, most are not


def test_a_product_takes_as_many_compositions_as_the_longest_list_of_choices(real: Tree) -> None:
    parts = (("unet", "resnet", "unet_tiny"), ("builtin", "div2k"), ("small", "medium", "large"), (8, 64), (0, 1, 2))
    keys = ("network", "background", "rain", "background.patch_count", "seed")
    jobs = [[f"{key}={value}" for key, value in zip(keys, job, strict=True)] for job in itertools.product(*parts)]
    configs = list(real.expander(jobs))
    assert real.compositions == 3
    for number in random.Random(0).sample(range(len(jobs)), 5):
        assert typed(configs[number]) == typed(reference(jobs[number]))


@pytest.mark.parametrize(("wrong", "words"), [("three", "b/three"), ("list", "wide/below")])
def test_a_mistake_in_one_job_is_not_laid_to_another(grown, wrong: str, words: str) -> None:
    tree = grown({**TREE, "b/list": "- 1\n", "wide/below": "# @package _global_\nb: {value: 5}\n"})
    jobs = [["+wide=below", *job] for job in (["a=one", "b=one"], ["a=two", "b=one"], ["a=two", f"b={wrong}"])]
    configs = tree.expander(jobs)
    assert [next(configs)["a"]["value"] for _ in range(2)] == [1, 2]
    with pytest.raises(HydraException, match=words):
        next(configs)


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


def test_a_value_has_its_type_wherever_it_is_referred_to(grown) -> None:
    tree = grown(TREE)
    for value in VALUES:
        job = [*(f"{key}={value}" for key in ("seed", "text", "inner.deeper.number")), "a=two"]
        assert typed(expanded(tree, job)) == typed(reference(job)), job


UNUSUAL = [
    ["pick=k2"],
    ["pick=k3"],
    ["table.k1=new"],
    ["table.k1=new", "pick=k1"],
    ["table={k1:a}", "table.k1=b"],
    ["table.k1=b", "table={k1:a}"],
    ["table=5"],
    ["seed=1", "seed=2"],
    ["~text", "seed=1"],
    ["+new=1", "seed=1"],
    ["++seed=1", "seed=2"],
    ["seed=2", "++seed=1"],
    ["list.0=7"],
    ["list.2.c=7"],
    ["list=[${seed}]", "seed=3"],
    ["nowhere=1"],
    ["inner.nowhere=1"],
    ["a=three"],
    ["a=two", "a=one"],
    ["a='two'", "a.value=5"],
    ["a=two", "a.value=5", "b=two"],
    ["b=missing"],
    ["b=missing", "b.value=3"],
    ["must=???"],
    ["+wide=on", "a=two"],
    ["+wide=on", "a.value=7", "seed=4"],
    ["home=here"],
    ["escaped=1"],
]


def test_unusual_overrides_mean_what_hydra_takes_them_for(grown) -> None:
    tree = grown(TREE)
    for job in UNUSUAL:
        assert typed(expanded(tree, job)) == typed(reference(job)), job


def test_a_resolver_may_do_anything_with_a_value(grown) -> None:
    OmegaConf.register_new_resolver("test_is_three", lambda value: value == 3, replace=True)
    tree = grown({**TREE, "config": f"{TREE['config']}\nthree: ${{test_is_three:${{seed}}}}\n"})
    for value in (3, 4):
        assert expanded(tree, [f"seed={value}"]) == reference([f"seed={value}"])


DEPENDENT = {
    "a file that writes elsewhere": {
        "a/two": "# @package _global_\na: {value: 2}\nb: {hidden: 5}\n",
        "b/one": "hidden: 1",
    },
    "a defaults list that refers to choices": {
        "config": TREE["config"].replace("_self_]", "_self_, {optional both: '${a}_${b}'}]"),
        "both/two_two": "# @package _global_\nsurprise: 1\n",
    },
    "a file that builds on another group": {"a/two": "defaults: [/b@b: two]\nvalue: 2\n"},
}


@pytest.mark.parametrize("change", DEPENDENT.values(), ids=DEPENDENT.keys())
def test_choices_that_depend_on_each_other_are_composed_together(grown, change: dict[str, str]) -> None:
    tree = grown({**TREE, **change})
    for a, b in itertools.product(("one", "two"), repeat=2):
        job = [f"a={a}", f"b={b}", "seed=3"]
        assert isinstance(reference(job), dict)
        assert typed(expanded(tree, job)) == typed(reference(job)), job


@dataclass
class Schema:
    """A typed node, as a program's own config store may have it."""

    number: int = 0


def test_a_typed_node_converts_its_values(grown) -> None:
    ConfigStore.instance().store(group="typed", name="schema", node=Schema)
    tree = grown(TREE)
    job = ["+typed=schema", "typed.number='3'"]
    assert expanded(tree, job) == reference(job)
    assert tree.expand(job)["typed"] == {"number": 3}


def test_a_missing_value_is_named(grown) -> None:
    with pytest.raises(NotGivenError, match=r"^b\.value is not given: add b\.value="):
        grown(TREE).expand(["b=missing", "seed=1"])
