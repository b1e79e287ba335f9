"""Which field somebody meant by a name that is almost that of one.

A misspelt limit that is passed over is a limit that is not there. LiteLLM's clients send fields that we do not know as
well, and have to go on working; so only what is all but certainly a slip counts, and never a word of the contract's.
"""

from collections.abc import Collection, Iterable
from itertools import islice

_NO_SLIPS = frozenset(
    {
        *("updated_by", "created_at", "created_by"),
        *("tpd_limit", "rpd_limit", "team_rpm_limit", "team_tpm_limit", "model_itpm_limit", "model_otpm_limit"),
    }
)
"""Names of the contract's that are close to another of its names: columns of rows that are sent back as they were read,
and limits of other kinds."""
UNKNOWN_MAX = 100
"""Names that nobody knows, of which it is asked what they mean: each asking costs up to a millisecond."""
_SHORT, _LONG = 4, 8
"""Names shorter than the one have no room for slips, those shorter than the other for one, all others for two."""


def meant(name: str, known: Iterable[str]) -> str | None:
    """The one of `known` that `name` is most likely a slip of; None: of none.

    Slips are letters that are missing, too many, wrong or swapped with the next one, and `maxBudget` for `max_budget`.
    Digits are said on purpose: `above_12hr` is no slip of `above_1hr`.
    """
    if name in _NO_SLIPS:
        return None
    number = _digits(name)
    slips = ((_slips(name, field), field) for field in known if _digits(field) == number)
    return min(((count, field) for count, field in slips if count <= _room(field)), default=(0, None))[1]


def slip_among(names: Iterable[str], known: Collection[str]) -> tuple[str, str] | None:
    """The first of `names` that is a slip of one of `known`, and of which. Looks at UNKNOWN_MAX unknown ones."""
    unknown = islice((name for name in names if name not in known), UNKNOWN_MAX)
    return next(((name, field) for name in unknown if (field := meant(name, known)) is not None), None)


def _room(field: str) -> int:
    return 0 if len(field) < _SHORT else 1 if len(field) < _LONG else 2


def _slips(name: str, field: str) -> int:
    """How many lead from `field` to `name` (optimal string alignment), or more than matter."""
    if _bare(name) == _bare(field):
        return 0
    if abs(len(name) - len(field)) > _room(field):
        return _room(field) + 1
    before: list[int] = []
    row = list(range(len(field) + 1))
    for i, letter in enumerate(name.lower(), 1):
        last, before, row = before, row, [i]
        for j, wanted in enumerate(field.lower(), 1):
            steps = [before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != wanted)]
            if i > 1 and j > 1 and letter == field[j - 2].lower() and name[i - 2].lower() == wanted:
                steps.append(last[j - 2] + 1)
            row.append(min(steps))
    return row[-1]


def _digits(name: str) -> str:
    return "".join(filter(str.isdigit, name))


def _bare(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")
