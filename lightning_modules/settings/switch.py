"""Options of hybrid training. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gcp.errors import OptionError, UnknownNameError
from gcp.methods import METHODS
from gcp.options import Options, make_options, option, option_names


@dataclass(frozen=True)
class SwitchOptions(Options):
    """Hybrid training: one method first, ``method``, and another one for the rest; weights and optimizer go on."""

    to: str | None = option(None, "method the run switches to; none: it keeps its method")
    options: dict[str, Any] = option({}, "options of that method, switch.options.degree=50; the rest as by default")
    at: str = option(
        "last_decay",
        "when: at the schedule's last milestone, at a given epoch, or when covariances are well enough conditioned",
        choices=("last_decay", "epoch", "condition"),
    )
    epoch: int | None = option(None, "for at=epoch: epochs of the first method", minimum=1)
    condition: float | None = option(
        None,
        "for at=condition: switch after an epoch whose median condition number, of the eigenvalues that are not null, "
        "is below this",
        above=1,
    )
    batches: int = option(10, "for at=condition: batches at the end of an epoch that are measured", minimum=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.to is not None:
            try:
                info = METHODS.get(self.to)
            except UnknownNameError as error:
                raise OptionError(f"to: {error}") from None
            try:
                make_options(info.options, self.options, f"method '{self.to}'")
            except OptionError as error:
                named = str(error).split()[0] in option_names(info.options)
                raise OptionError(f"options{'.' if named else ': '}{error}") from None
        for name in ("epoch", "condition"):
            given = getattr(self, name) is not None
            if given and (self.to is None or self.at != name):
                raise OptionError(f"{name} is used with switch.to=... and switch.at={name} only")
            if self.at == name and self.to is not None and not given:
                raise OptionError(f"at={name} needs switch.{name}")
