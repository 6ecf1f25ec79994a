"""Is each value of a config what it must be? Before anything is built: names, types, and which classes may be named.

A node with a ``_target_`` is held against the signature and the annotations of the class that it names, whoever wrote
that; what builds nothing is held against ``slackoff.config.schema``. Importing this module does not import torch;
looking at a node does, as its classes need it.
"""

import inspect
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib import import_module
from os import PathLike
from pathlib import Path
from types import ModuleType, NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints, is_typeddict

from slackoff.config.packages import how_to_name, is_named
from slackoff.config.schema import Builds, Config, Limit, types_of, without_marks
from slackoff.errors import SlackoffError, did_you_mean, one_line

ALLOWED_TARGETS = (
    "slackoff.data",
    "slackoff.evaluation",
    "slackoff.images",
    "slackoff.losses",
    "slackoff.measurements.complexity",
    "slackoff.measurements.runtime",
    "slackoff.metrics.protocol",
    "slackoff.networks",
    "slackoff.rain",
    "slackoff.tasks",
    "torch.nn",
)
"""The modules whose own classes a config may name, as MODULE.CLASS, beside what is in the packages that a person named
(``slackoff.config.packages``)."""

_OF_HYDRA = ("_args_", "_partial_", "_recursive_", "_convert_")
"""Keys with a meaning for Hydra's ``instantiate`` that no config of ours needs."""

_NOT_ARGUMENTS = ("_target_", "name")


class ForeignTargetError(SlackoffError):
    """A target outside of what a config may name."""


def check_config(config: Mapping[str, Any]) -> None:
    """Refuse a cell's config for the first key that is unknown, missing, or has a value that cannot be.

    Args:
        config: resolved, as plain values.

    Raises:
        SlackoffError: one sentence that names the key, its value, and what is expected.
    """
    check_keys("", config, Config)
    for key in Config.__annotations__:
        if key in config:
            check_part(key, config[key])


def check_part(key: str, value: Any) -> None:
    """Check what stands under one key at the top of a config; raises as ``check_config``."""
    _check(key, value, types_of(Config)[key])


def check_keys(key: str, values: Any, kind: type) -> None:
    """Refuse names that a ``TypedDict`` does not have, and want those that it must have; raises as ``check_config``."""
    if not isinstance(values, Mapping):
        raise SlackoffError(f"{key}={_shown(values)} cannot be: give keys and their values")
    _refuse_unknown(key, values, kind.__annotations__)
    for name in kind.__annotations__:
        if name in kind.__required_keys__ and name not in values:  # type: ignore[attr-defined]
            raise SlackoffError(f"{_joined(key, name)} is missing from the config: give it a value")


def checked_node(
    values: Any, key: str, given: Collection[str] = (), kinds: Sequence[str] = (), call: Collection[str] = ()
) -> Any:
    """A node, checked, with the class itself as each ``_target_`` in it.

    No class is looked at before the whole node is known to name none that is refused, and none is made. In the packages
    that a person named, functions that are annotated to return a network are taken as well.

    Args:
        values: of a resolved node, as plain values.
        key: where the node stands in the config, for messages.
        given: arguments that the code adds to those of the node itself.
        kinds: dotted names of the classes or protocols of which the node's own class must be one; none for any.
        call: where a function may stand in the place of the node's own class: names of what it is called with later.

    Raises:
        SlackoffError: a target outside ``ALLOWED_TARGETS``, a key of Hydra's ``instantiate`` such as ``_args_``, or as
            ``check_config``.
    """
    if not isinstance(values, dict) or "_target_" not in values:
        raise SlackoffError(f"{key} has no _target_: name the class to make")
    for place, node in _nodes(values, key):
        for name in _OF_HYDRA:
            if name in node:
                raise SlackoffError(f"{place}.{name} is refused: give arguments by their names beside _target_")
        if "_target_" in node and not _may_be_named(str(node["_target_"])):
            raise _refused(place, node["_target_"])
    found = _with_classes(values, key, call)
    wanted = [getattr(import_module(kind.rpartition(".")[0]), kind.rpartition(".")[2]) for kind in kinds]
    if call and inspect.isfunction(found["_target_"]):
        given = call
    elif wanted and not any(_is_kind(found["_target_"], kind) for kind in wanted):
        raise SlackoffError(
            f"{key}._target_={values['_target_']} cannot be: give a class that is a {' or '.join(kinds)}"
        )
    for place, node in _nodes(found, key):
        if "_target_" in node:
            check_arguments(node["_target_"], node, place, given if node is found else ())
    return found


def _check(key: str, value: Any, hint: Any) -> None:
    """Hold a value against a type of the schema."""
    hint, marks = without_marks(hint)
    if built := next((mark for mark in marks if isinstance(mark, Builds)), None):
        if value or key not in Config.__optional_keys__:
            checked_node(value, key, built.given, built.kinds, built.call)
    elif is_typeddict(hint):
        check_keys(key, value, hint)
        for name, below in value.items():
            _check(f"{key}.{name}", below, types_of(hint)[name])
    elif get_origin(hint) is dict and isinstance(value, dict):
        for name, below in value.items():
            _check(f"{key}.{name}", below, get_args(hint)[1])
    else:
        _check_value(key, value, Annotated[(hint, *marks)] if marks else hint)


def _nodes(value: Any, key: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every mapping in a value, outer ones first, with the key under which it stands."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _nodes(item, f"{key}[{index}]")
    if isinstance(value, dict):
        yield key, value
        for name, item in value.items():
            yield from _nodes(item, f"{key}.{name}")


def _may_be_named(target: str) -> bool:
    return target.rpartition(".")[0] in ALLOWED_TARGETS or is_named(target)


def _with_classes(value: Any, key: str, call: Collection[str] = ()) -> Any:
    """A value with the class itself as each ``_target_`` in it."""
    if isinstance(value, list):
        return [_with_classes(item, f"{key}[{index}]") for index, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    return {
        name: _class(item, key, call) if name == "_target_" else _with_classes(item, f"{key}.{name}")
        for name, item in value.items()
    }


def _class(target: Any, key: str, call: Collection[str] = ()) -> Any:
    """The class of that name, which is one that a module of ``ALLOWED_TARGETS`` defines, not one that it imports; or a
    class or function that a package defines which a person named."""
    module, _, name = str(target).rpartition(".")
    foreign = module not in ALLOWED_TARGETS
    source = _foreign_module(module, f"{key}._target_={target}") if foreign else import_module(module)
    found = getattr(source, name, None)
    if found is None:
        classes = [name for name, item in vars(source).items() if isinstance(item, type)]
        raise SlackoffError(f"{key} cannot be built: there is no class {target}{_hint(name, classes)}")
    home = "torch.nn.modules" if module == "torch.nn" else module.partition(".")[0] if foreign else module
    if f"{getattr(found, '__module__', '')}.".startswith(f"{home}."):
        if isinstance(found, type):
            return found
        if foreign and inspect.isfunction(found):
            _check_function(found, f"{key}._target_={target}", call)
            return found
    raise _refused(key, target)


def _foreign_module(module: str, wrong: str) -> ModuleType:
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name and f"{module}.".startswith(f"{error.name}."):
            raise SlackoffError(f"{wrong} cannot be: there is no module {error.name}") from error
        raise SlackoffError(
            f"{wrong} cannot be imported: {module} needs {error.name}, which is not installed"
        ) from error
    except Exception as error:  # the code of a person, in which anything may go wrong
        place = f" (line {error.lineno})" if isinstance(error, SyntaxError) else ""
        raise SlackoffError(f"{wrong} cannot be imported: {type(error).__name__}: {one_line(error)}{place}") from error


def _check_function(function: Callable[..., Any], wrong: str, call: Collection[str]) -> None:
    """Refuse a function that is neither called with images nor says that it makes a network."""
    from torch import nn

    if not call and not _is_kind(function, nn.Module):
        raise SlackoffError(
            f"{wrong} is a function that does not say that it makes a network: write what it returns behind it, "
            f"def {function.__name__}(...) -> torch.nn.Module, or name a class"
        )
    takes = parameters(function)
    if call and not takes.open and not {*call} & takes.types.keys():
        raise SlackoffError(
            f"{wrong} takes {', '.join(takes.types) or 'no arguments'}: name those that it is called with {_or(call)}"
        )


def _or(names: Collection[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last


def _refused(key: str, target: Any) -> ForeignTargetError:
    return ForeignTargetError(
        f"{key}._target_={target} is refused: a target is a class of {', '.join(ALLOWED_TARGETS[:-1])}, or a layer or "
        f"loss of {ALLOWED_TARGETS[-1]}{how_to_name(str(target))}"
    )


class Parameters(NamedTuple):
    """What a class takes by name: the type of each argument, which must be given, and whether it takes others too."""

    types: dict[str, Any]
    required: list[str]
    open: bool


@cache
def parameters(kind: Callable[..., Any]) -> Parameters:
    """The arguments of a class or function; where a class hands keywords on to the one behind it, also what that takes.

    An argument that is None by default may be None, whatever its annotation says.
    """
    listed = inspect.signature(kind).parameters.values()
    hints = _annotations(kind)
    named = [each for each in listed if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)]
    types = {each.name: hints.get(each.name, Any) for each in named}
    types |= {each.name: Union[types[each.name], None] for each in named if each.default is None}  # noqa: UP007
    required = [each.name for each in named if each.default is each.empty]
    if not any(each.kind is each.VAR_KEYWORD for each in listed):
        return Parameters(types, required, False)
    if not isinstance(kind, type):
        return Parameters(types, required, True)
    maker, *behind = (base for base in kind.__mro__ if "__init__" in vars(base) and base is not object)
    if _is_framework(maker):  # torch's Module takes keywords only to refuse them
        return Parameters(types, required, False)
    if not behind or _is_framework(behind[0]):
        return Parameters(types, required, True)
    further = parameters(behind[0])
    return Parameters({**further.types, **types}, [*dict.fromkeys([*required, *further.required])], further.open)


def _annotations(kind: Callable[..., Any]) -> dict[str, Any]:
    made = kind
    if isinstance(kind, type):
        made = kind.__init__ if kind.__init__ is not object.__init__ else kind.__new__  # type: ignore[misc]
    try:
        return get_type_hints(made, include_extras=True)
    except Exception:  # annotations of names that only a type checker sees, or with mistakes of their own
        return {}


def _is_framework(kind: type) -> bool:
    return kind.__module__.partition(".")[0] in ("torch", "typing")


def check_arguments(kind: Callable[..., Any], node: Mapping[str, Any], key: str, given: Collection[str] = ()) -> None:
    """Hold the arguments in a node against what a class takes, those in nodes below it left out.

    Args:
        kind: the class.
        node: its arguments by name.
        key: where the node stands in the config, for messages.
        given: arguments that the code adds.

    Raises:
        SlackoffError: an argument is unknown, missing, or not of its type.
    """
    takes = parameters(kind)
    arguments = {name: item for name, item in node.items() if name not in _NOT_ARGUMENTS}
    known = [name for name in takes.types if name not in given]
    if not takes.open:
        _refuse_unknown(key, arguments, known)
    for name in (name for name in known if name in arguments):
        _check_value(f"{key}.{name}", arguments[name], takes.types[name])
    for name in takes.required:
        if name not in given and name not in arguments:
            raise SlackoffError(f"{key}.{name} is not given: {kind.__name__} needs it")


def _refuse_unknown(key: str, values: Mapping[str, Any], known: Iterable[str]) -> None:
    known = list(known)
    for name, value in values.items():
        if name not in known:
            listed = f"{key or 'a config'} has {', '.join(known) or 'no keys'}"
            cure = did_you_mean(name, known, listed).replace("'", f"'{_joined(key, '')}", 1)
            raise SlackoffError(f"{_joined(key, name)}={_shown(value)} is not known: {cure}")


def _check_value(key: str, value: Any, hint: Any) -> None:
    fits, expected = _meaning(hint)
    if fits(value):
        return
    if isinstance(value, str) and expected == "true or false":
        raise SlackoffError(f"{key}={value} is text, and any text would count as true: give {expected}")
    choices = [_shown(choice) for choice in _choices(hint)]
    close = _hint(value, choices) if isinstance(value, str) else ""
    wrong = f"{key}={_shown(value)}"
    if get_origin(without_marks(hint)[0]) is Literal:
        raise SlackoffError(f"{wrong} is not known: choose {expected}{close}")
    raise SlackoffError(f"{wrong} cannot be: give {expected}{close}")


def _meaning(hint: Any) -> tuple[Callable[[Any], bool], str]:
    """Whether a value fits a type annotation, and what would, in words. An annotation that is none fits all."""
    hint = getattr(hint, "__value__", hint)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        fits, words = _meaning(arguments[0])
        limits = [mark for mark in arguments[1:] if isinstance(mark, Limit)]
        words = " ".join([words, *(limit.words for limit in limits)])
        return lambda v: fits(v) and all(limit.holds(v) for limit in limits), words
    if origin in (Union, UnionType):
        tests, texts = zip(*map(_meaning, arguments), strict=True)
        return lambda v: any(test(v) for test in tests), " or ".join(dict.fromkeys(texts))
    if origin is Literal:
        listed = ", ".join(map(_shown, arguments))
        expected = listed if len(arguments) == 1 else f"one of {listed}"
        return lambda v: any(type(v) is type(choice) and v == choice for choice in arguments), expected
    if hint in _PLAIN:
        return _PLAIN[hint]
    kind = origin or hint
    if not isinstance(kind, type) or kind in (object, type, Callable):
        return lambda v: True, "any value"
    if issubclass(kind, tuple) and arguments and arguments[-1] is not ...:
        tests, texts = zip(*map(_meaning, arguments), strict=True)
        items = f", each {texts[0]}" if len(set(texts)) == 1 else f": {', '.join(texts)}"

        def fits_each(v: Any) -> bool:
            return (
                isinstance(v, list) and len(v) == len(tests) and all(test(i) for test, i in zip(tests, v, strict=True))
            )

        return fits_each, f"a list of {len(tests)}{items}"
    if issubclass(kind, (list, tuple, set, frozenset)) or kind in _SEQUENCES:
        fits, words = _meaning(arguments[0] if arguments else Any)
        return lambda v: isinstance(v, list) and all(map(fits, v)), f"a list, each item {words}"
    if issubclass(kind, dict) or kind is Mapping:
        fits, words = _meaning(arguments[1] if len(arguments) == 2 else Any)
        return (
            lambda v: isinstance(v, dict) and "_target_" not in v and all(map(fits, v.values())),
            f"names, each with {words}",
        )
    return lambda v: isinstance(v, dict) and _is_kind(v.get("_target_"), kind), f"a {kind.__name__} node"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_PLAIN: dict[Any, tuple[Callable[[Any], bool], str]] = {
    Any: (lambda v: True, "any value"),
    bool: (lambda v: isinstance(v, bool), "true or false"),
    int: (lambda v: type(v) is int, "a whole number"),
    float: (_is_number, "a number"),
    str: (lambda v: isinstance(v, str), "text"),
    None: (lambda v: v is None, "null"),
    NoneType: (lambda v: v is None, "null"),
    Path: (lambda v: isinstance(v, str), "text"),
    PathLike: (lambda v: isinstance(v, str), "text"),
    PathLike[str]: (lambda v: isinstance(v, str), "text"),
}
_SEQUENCES = (Sequence, Collection, Iterable)


def _is_kind(kind: Any, wanted: type) -> bool:
    """Whether a class, or what a function is annotated to return, is a kind of another one, or has the methods of a
    protocol."""
    if inspect.isfunction(kind):
        kind = _annotations(kind).get("return")
    if not isinstance(kind, type):
        return False
    if getattr(wanted, "_is_protocol", False):
        methods = [name for name, item in vars(wanted).items() if inspect.isfunction(item) and name[0] != "_"]
        return all(callable(getattr(kind, name, None)) for name in methods)
    return issubclass(kind, wanted)


def _choices(hint: Any) -> list[Any]:
    """The values that a type lists one by one."""
    arguments = get_args(hint)
    if get_origin(hint) is Literal:
        return list(arguments)
    return [choice for argument in arguments for choice in _choices(argument)]


def _hint(wrong: str, known: Iterable[str]) -> str:
    close = did_you_mean(wrong, known)
    return f"; {close}" if close else ""


def _joined(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name


def _shown(value: Any) -> str:
    """A value as a person would write it on the command line."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list):
        return f"[{','.join(map(_shown, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{name}:{_shown(item)}' for name, item in value.items())}}}"
    return value.__name__ if isinstance(value, type) else str(value)
