"""The verb ``import-weights``: published weights under our names, or which network they are of."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from slackoff.errors import SlackoffError

if TYPE_CHECKING:
    from torch import Tensor, nn


def import_weights(
    network: Annotated[str, typer.Argument(help="The network's preset: python -m slackoff networks lists them.")],
    file: Annotated[Path, typer.Argument(help="Published weights of torch, NumPy (.npz) or safetensors, any suffix.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="What to write; FILE's name, in this folder, if left out.")
    ] = None,
    key: Annotated[
        str | None, typer.Option(help="Which of several sets of tensors in FILE, such as params_ema.")
    ] = None,
) -> None:
    """Write the published weights of a network as safetensors under our names, for +start_from=...

    Nothing in FILE is run. Where anything does not fit, nothing is written and the exit code is 2.
    """
    from safetensors.torch import save

    from slackoff.config.presets import check_presets
    from slackoff.networks.weights import fitted, named_as_ours, read_tensors
    from slackoff.record.files import write_bytes

    check_presets([network], "import-weights")
    target = out or Path(file.name).with_suffix(".safetensors")
    if target.suffix != ".safetensors":
        raise SlackoffError(f"-o {target} must end in .safetensors")
    if not target.parent.is_dir():
        raise SlackoffError(f"{target.parent} is no folder: make it, or give another place with -o")
    if target.exists():
        raise SlackoffError(f"{target} is there already: give another name with -o, or remove it")
    built = _on_meta(network)
    found = read_tensors(file, key=key)
    try:
        weights = fitted(built, named_as_ours(type(built).__name__, found, built.state_dict()), str(file))
    except SlackoffError as error:
        raise SlackoffError(f"{error}{_closest(found)}") from error
    write_bytes(target, save(weights))
    parameters = sum(parameter.numel() for parameter in built.parameters())
    Console(markup=False).print(f"{target}: {parameters:,} parameters of network={network}", soft_wrap=True)


def _on_meta(preset: str) -> "nn.Module":
    """The network of a preset, without values."""
    import torch

    from slackoff.config.build import build
    from slackoff.config.presets import compose_preset

    with torch.device("meta"):
        return build(compose_preset(preset), f"network={preset}").to("meta")  # type: ignore[no-any-return]


def _closest(tensors: Mapping[str, "Tensor"]) -> str:
    """The end of a sentence: the preset that shares most tensors, by name and shape, with a file; or that none does."""
    from slackoff.config.presets import preset_names
    from slackoff.networks.weights import named_as_ours

    best, most = (0.0, 0, 0), ""
    for preset in preset_names():
        try:
            built = _on_meta(preset)
            wanted = built.state_dict()
        except (SlackoffError, RuntimeError, NotImplementedError, AttributeError):  # no network, or not without values
            continue
        named = named_as_ours(type(built).__name__, tensors, wanted)
        alike = sum(name in wanted and tensor.shape == wanted[name].shape for name, tensor in named.items())
        # Numbers of seen batches are in no file of torch before 0.4.1.
        union = len({*named, *(name for name in wanted if not name.endswith("num_batches_tracked"))})
        best, most = max((best, most), ((alike / max(union, 1), alike, len(wanted)), preset))
    if best[0] == 0:
        return "; not one of its tensors is one of a preset"
    return f"; the closest preset is {most}, with which it shares {best[1]} of {best[2]} tensors"
