"""The space of a search, from arguments: ranges and choices, typed by the options they are of. Free of torch."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep

from conf.known import find
from gcp.errors import OptionError
from lightning_modules.search.trials import as_run

LOG = "log"
NOT_SEARCHED = ("seed", "data.seed", "mode", "path", "ckpt_path", "recipe", "plugins")


def space_of(overrides: Iterable[Override]) -> tuple[list[str], dict[str, Any]]:
    """The arguments that all trials have, and Optuna's distribution of each of the others.

    ``a=interval(0,1)`` is a number between the two, an integer where the option is one; ``a=range(1,9)`` integers,
    ``a=x,y`` or ``a=choice(x,y)`` one of these; ``tag(log, interval(0.01,1))`` and ``tag(log, range(1,99))`` go by
    ratios. The last argument for an option counts.

    Raises:
        OptionError: there is nothing to search, or what is given is no range.
    """
    by_key = {override.key_or_group: override for override in overrides}
    fixed = [each.input_line or "" for each in by_key.values() if not each.is_sweep_override()]
    space = {key: _distribution(key, each) for key, each in by_key.items() if each.is_sweep_override()}
    if not space:
        raise OptionError("a search needs something to search: optimizer.lr=interval(0.01,0.5), method=pade,taylor")
    return fixed, space


def corners(space: dict[str, Any]) -> list[list[str]]:
    """Arguments that try the ends of every range and every choice, to see whether the options take them."""
    from optuna.distributions import CategoricalDistribution

    ends = {
        key: list(each.choices) if isinstance(each, CategoricalDistribution) else [each.low, each.high]
        for key, each in space.items()
    }
    first = {key: values[0] for key, values in ends.items()}
    tried = [first, *({**first, key: value} for key, values in ends.items() for value in values[1:])]
    return [[f"{key}={value}" for key, value in as_run(each).items()] for each in tried]


def _distribution(key: str, override: Override) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if key in NOT_SEARCHED:
        raise OptionError(f"{key} is no hyper-parameter: a search over it would find the luckiest; give it one value")
    value: Any = override.value()
    log = LOG in value.tags
    if value.tags - {LOG}:
        raise OptionError(f"{key}: the tag {', '.join(sorted(value.tags - {LOG}))} is unknown; there is {LOG}")
    if isinstance(value, ChoiceSweep):
        if log:
            raise OptionError(f"{key}: choices have no {LOG}; leave the tag out")
        return CategoricalDistribution(list(override.sweep_string_iterator()))
    if not isinstance(value, (IntervalSweep, RangeSweep)):
        raise OptionError(f"{key}={override.get_value_string()} is no range; write interval(a,b), range(a,b) or a,b,c")
    known = [kind for option in find(key) for kind in option.kinds]
    if known and not {int, float} & set(known):
        raise OptionError(f"{key} is no number, so it has no range; give choices: {key}=a,b,c")
    kind: type = int
    if isinstance(value, RangeSweep):
        low, high, step = value.start, value.stop, value.step
        whole = all(float(each or 0).is_integer() for each in (low, high, step))
        if low is None or high is None or not whole or step != 1:
            raise OptionError(f"{key}: a range of a search is one of integers, range(a,b); else give interval(a,b)")
        low, high = int(low), int(high) - 1
    else:
        low, high, kind = value.start, value.end, float if float in known or not known else int
    if low is None or high is None or not low < high or not math.isfinite(low) or not math.isfinite(high):
        raise OptionError(f"{key}={override.get_value_string()} is empty; give the smaller end first")
    if log and low <= 0:
        raise OptionError(f"{key}={override.get_value_string()}: by ratios it has to begin above 0")
    if kind is float:
        return FloatDistribution(float(low), float(high), log=log)
    return IntDistribution(math.ceil(low), math.floor(high), log=log)
