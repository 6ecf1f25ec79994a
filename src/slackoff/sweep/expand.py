"""Resolved configs of many jobs: Hydra composes what is new, plain values are filled in.

Hydra takes tens of milliseconds for a config. Jobs of a sweep mostly differ in values such as ``seed=3``; so each
combination of choices is composed once, with a mark where such a value will stand, and resolved, so that whatever
refers to the value carries the mark too. The config of a job is that template with its values put in.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import OverrideType, ValueType
from hydra.errors import HydraException
from omegaconf import AnyNode, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from slackoff.errors import SlackoffError
from slackoff.sweep.compositions import Compositions, Node, nodes_of

Config = dict[str, Any]
"""A resolved config without Hydra's own node: dicts, lists and plain values. Parts may be shared: never change one."""

Scalar = str | int | float | bool | None

_KEY = re.compile(r"\+{0,2}~?([A-Za-z_]\w*(?:\.\w+)*)$", re.ASCII)
_WHOLE_NUMBER = re.compile(r"0|-?[1-9]\d*", re.ASCII)
_WORD = re.compile(r"(?!(?:true|false|null|nan|inf)$)[A-Za-z_][\w-]*", re.ASCII | re.IGNORECASE)
_PLAIN_REFERENCE = re.compile(r"\$\{(?:oc\.env:)?[\w.,/-]*\}", re.ASCII)
_MARK = re.compile("\0(\\d+)\0")


class NotGivenError(SlackoffError):
    """A value that must be given is missing."""

    def __init__(self, key: str) -> None:
        super().__init__(f"{key} is not given: add {key}=... to the command")
        self.key = key


class Expander:
    """Turns the overrides of a job into its resolved config, the same as Hydra's and OmegaConf's own.

    Args:
        compositions: of the config tree.
    """

    def __init__(self, compositions: Compositions) -> None:
        self.compositions = compositions
        self.parser = OverridesParser.create()
        self._values: dict[str, tuple[str, Scalar] | None] = {}
        self._templates: dict[tuple[tuple[str, ...], tuple[str, ...]], _Template | None] = {}

    def __call__(self, jobs: Iterable[Sequence[str]]) -> Iterator[Config]:
        """The configs of jobs, each made when it is asked for.

        Raises:
            HydraException: as Hydra raises it for the overrides of the job.
            SlackoffError: a value is missing in it, or an interpolation leads nowhere.
        """
        parted = [(overrides, *self._part(overrides)) for overrides in jobs]
        self.compositions.foresee(dict.fromkeys(rest for _, rest, _ in parted))
        for overrides, rest, values in parted:
            yield self._config(overrides, rest, values)

    def _part(self, overrides: Sequence[str]) -> tuple[tuple[str, ...], dict[str, Scalar]]:
        """What Hydra must compose, and the plain values."""
        values: dict[str, Scalar] = {}
        rest: list[str] = []
        for override in overrides:
            found = self._value(override)
            if found is None:
                rest.append(override)
            else:
                values[found[0]] = found[1]
        return tuple(rest), values

    def _config(self, overrides: Sequence[str], rest: tuple[str, ...], values: dict[str, Scalar]) -> Config:
        key = (rest, tuple(values))
        if key not in self._templates:
            self._templates[key] = self._template(*key)
        template = self._templates[key]
        return template.fill(list(values.values())) if template else self._composed(overrides)

    def _composed(self, overrides: Sequence[str]) -> Config:
        return resolved(self.compositions.compose(list(overrides)))

    def _value(self, override: str) -> tuple[str, Scalar] | None:
        """Key and value of an override that sets a plain value; None for any other."""
        if override not in self._values:
            self._values[override] = self._parse(override)
        return self._values[override]

    def _parse(self, override: str) -> tuple[str, Scalar] | None:
        key, equals, text = override.partition("=")
        if not equals or key in self.compositions.groups or not _KEY.match(key) or key[0] in "+~":
            return None
        if _WHOLE_NUMBER.fullmatch(text):
            return key, int(text)
        if _WORD.fullmatch(text):
            return key, text
        try:
            parsed = self.parser.parse_override(override)
        except HydraException:
            return None  # Hydra says what is wrong when it composes the job
        if parsed.type != OverrideType.CHANGE or parsed.value_type != ValueType.ELEMENT:
            return None
        value: Any = parsed.value()
        if isinstance(value, (list, dict)) or (isinstance(value, str) and ("${" in value or value == "???")):
            return None
        return key, value

    def _is_apart(self, override: str, values: Collection[str]) -> bool:
        """Whether an override has nothing to do with the values, so that their order does not matter."""
        if self.compositions.is_choice(override):
            return True
        found = _KEY.match(override.partition("=")[0])
        return found is not None and not any(_overlap(found[1], key) for key in values)

    def _template(self, rest: tuple[str, ...], keys: tuple[str, ...]) -> "_Template | None":
        """The template for these choices and keys; None where values may decide about more than where they stand."""
        if not all(self._is_apart(override, keys) for override in rest):
            return None
        nodes = self.compositions(rest)
        content = {name: node.content for name, node in nodes.items()}
        if not all(_is_leaf(nodes, key) for key in keys) or _calls_resolvers(content):
            return None
        for number, key in enumerate(keys):
            content = _replaced(content, key.split("."), f"\0{number}\0")
        try:
            return _Template(_resolve(content))
        except NotGivenError:
            raise
        except SlackoffError:
            return None


class _Template:
    """A resolved config with marks, and where they are."""

    def __init__(self, content: Config) -> None:
        self.content = content
        self.marks = _marks(content)

    def fill(self, values: list[Scalar]) -> Config:
        filled = _filled(self.content, self.marks, values)
        assert isinstance(filled, dict)
        return filled


def resolved(config: DictConfig) -> Config:
    """A composed config as plain values, without Hydra's own node, its interpolations resolved.

    Raises:
        SlackoffError: a value that must be given is missing, or an interpolation leads nowhere.
    """
    return _resolve({name: node.content for name, node in nodes_of(config).items()})


def _resolve(content: Config) -> Config:
    for key in _missing(content):
        raise NotGivenError(key)
    try:
        result = OmegaConf.to_container(OmegaConf.create(content), resolve=True)
    except OmegaConfBaseException as error:
        raise SlackoffError(f"The config cannot be resolved: {str(error).splitlines()[0]}") from error
    assert isinstance(result, dict)
    return {str(key): value for key, value in result.items()}


def _missing(content: Any, prefix: str = "") -> Iterator[str]:
    """Keys whose value is the mandatory mark ???, without resolving what refers to them."""
    for key, value in content.items() if isinstance(content, dict) else ():
        if value == "???":
            yield f"{prefix}{key}"
        yield from _missing(value, f"{prefix}{key}.")


def _overlap(one: str, other: str) -> bool:
    return one == other or one.startswith(f"{other}.") or other.startswith(f"{one}.")


def _is_leaf(nodes: Mapping[str, Node], key: str) -> bool:
    """Whether a key stands in the config itself, as an untyped plain value."""
    name = key.partition(".")[0]
    node: Any = nodes[name].composed if name in nodes else None
    for part in key.split("."):
        if not isinstance(node, DictConfig) or node._is_none() or node._is_missing() or node._is_interpolation():
            return False
        node = node._get_node(part, validate_access=False)
    return isinstance(node, AnyNode)


def _replaced(content: Config, path: list[str], value: str) -> Config:
    name, *below = path
    return {**content, name: _replaced(content[name], below, value) if below else value}


def _calls_resolvers(content: Any) -> bool:
    """Whether any text asks for more than other keys (or the environment): a function may do anything with a value."""
    if isinstance(content, dict):
        return any(_calls_resolvers(value) for value in content.values())
    if isinstance(content, list):
        return any(_calls_resolvers(value) for value in content)
    if not isinstance(content, str):
        return False
    before, text = "", content
    while before != text:
        before, text = text, _PLAIN_REFERENCE.sub("x", text)
    return "${" in text


def _marks(content: Any) -> dict[Any, Any]:
    """Where marks stand: for each key (or index) the pieces of its text, or the same of the node below it."""
    found: dict[Any, Any] = {}
    for key, value in content.items() if isinstance(content, dict) else enumerate(content):
        if isinstance(value, (dict, list)):
            below = _marks(value)
            if below:
                found[key] = below
        elif isinstance(value, str) and "\0" in value:
            pieces = _MARK.split(value)  # text, number, text, number, ..., text
            found[key] = tuple(int(piece) if place % 2 else piece for place, piece in enumerate(pieces))
    return found


def _filled(node: Any, marks: dict[Any, Any], values: list[Scalar]) -> Any:
    result = node.copy()
    for key, mark in marks.items():
        result[key] = _filled(node[key], mark, values) if isinstance(mark, dict) else _text(mark, values)
    return result


def _text(pieces: tuple[str | int, ...], values: list[Scalar]) -> Scalar:
    if len(pieces) == 3 and not pieces[0] and not pieces[2]:
        return values[pieces[1]]  # type: ignore[index]
    return "".join(str(values[piece]) if isinstance(piece, int) else piece for piece in pieces)
