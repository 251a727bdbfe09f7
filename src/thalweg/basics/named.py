"""Codes: integers in arrays and files, names in print."""

from enum import IntEnum


class Named(IntEnum):
    """An integer with a name, which is what `print` and f-strings show.

    Formats for numbers (`f"{code:d}"`) show the number, all others the name. In JSON, in arrays and
    in comparisons it is its number.

    >>> class Answer(Named):
    ...     YES = 1
    >>> f"{Answer.YES}, {Answer.YES:>5}, {Answer.YES:02d}", Answer.YES == 1
    ('YES,   YES, 01', True)
    """

    def __str__(self) -> str:
        return self.name

    def __format__(self, form: str) -> str:
        return format(int(self) if form[-1:] in _OF_NUMBERS else self.name, form)


_OF_NUMBERS = tuple("bcdoxXneEfFgG%")
