"""Verbs for people's own code: a small working project to begin with, and what a network of theirs must hold."""

import keyword
import os
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from slackoff.errors import SlackoffError

_EXAMPLE = "own_project"
_LEFT_OUT = ("__pycache__", ".pytest_cache", "runs", "wandb")


def new(
    name: Annotated[str, typer.Argument(help="Of the project and of its package, such as my_study.")],
) -> None:
    """Write a small project of your own: a network, a data set, a measure, an experiment and a test, all working."""
    from slackoff.config import shipped_folder

    folder = Path(name)
    if not name.isidentifier() or name != name.lower() or keyword.iskeyword(name) or not name.isascii():
        raise SlackoffError(f"{name} is no name for a package: take small letters, digits and _, such as my_study")
    if folder.exists():
        raise SlackoffError(f"{folder.absolute()} exists already: choose another name, or remove it")
    if find_spec(name) is not None or name == _EXAMPLE:
        raise SlackoffError(f"{name} is the name of a package that there is already: choose another one")
    example, written = shipped_folder(f"examples/{_EXAMPLE}"), folder.with_name(f".{name}.partial")
    shutil.rmtree(written, ignore_errors=True)
    try:
        for path in sorted(example.rglob("*")):
            place = path.relative_to(example)
            if path.is_file() and not {*place.parts} & {*_LEFT_OUT}:
                target = written / str(place).replace(_EXAMPLE, name)
                target.parent.mkdir(parents=True, exist_ok=True)
                text = path.read_text(encoding="utf-8").replace(_EXAMPLE, name)
                target.write_text(text, encoding="utf-8")
        written.replace(folder)
    finally:
        shutil.rmtree(written, ignore_errors=True)
    print(f"{folder}/README.md says what is what. Try it:\n")
    print(f"    cd {folder}\n    export SLACKOFF_PACKAGES={name}")
    print(f"    python -m slackoff +experiment={name} -m size=smoke")


def check(
    network: Annotated[str, typer.Argument(help="Class by its dotted name, or a preset.", metavar="CLASS|PRESET")],
    arguments: Annotated[list[str] | None, typer.Argument(help="Its arguments.", metavar="KEY=VALUE")] = None,
) -> None:
    """Try a network in a minute: any size, gradients, precision, resume, several processes, ONNX.

    The package of a class that is named here counts as one of SLACKOFF_PACKAGES for this command.

    Exit code: 0 all passed, 1 a check failed, 2 a mistake.
    """
    node = _node(network, arguments or [])
    from slackoff.cli.network_check import check_network

    failed = False
    for finding in check_network(node):
        failed |= finding.state == "failed"
        print(f"{finding.state:8}{finding.name:22}{finding.detail}", flush=True)
    if failed:
        raise typer.Exit(1)


def _node(network: str, arguments: list[str]) -> dict[str, Any]:
    """The config node that a command line describes; what it names there counts as named by the person."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    from slackoff.config.packages import VARIABLE, is_named, may_be_package, targets_in
    from slackoff.config.presets import check_presets, compose_preset

    for argument in arguments:
        if "=" not in argument:
            raise SlackoffError(f"{argument} gives no value: write it as KEY=VALUE, such as width=8")
    try:
        given: Any = OmegaConf.from_dotlist([argument.removeprefix("network.") for argument in arguments])
    except (OmegaConfBaseException, YAMLError, ValueError) as error:
        raise SlackoffError(f"{' '.join(arguments)} cannot be read: {' '.join(str(error).split())}") from error
    preset = "." not in network
    typed: Any = OmegaConf.to_container(given)
    for target in targets_in(typed if preset else {**typed, "_target_": network}):
        package = target.partition(".")[0]
        if may_be_package(package) and not is_named(target):
            os.environ[VARIABLE] = ",".join(filter(None, [os.environ.get(VARIABLE, ""), package]))
    if preset:
        check_presets([network], "slackoff check")
        given = OmegaConf.merge(compose_preset(network), given)
    else:
        given = OmegaConf.merge({"_target_": network}, given)
    node: Any = OmegaConf.to_container(given, resolve=True)
    return dict(node)
