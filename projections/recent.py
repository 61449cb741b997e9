"""What was written last, kept in memory for whoever is about to change it again: a PATCH often follows its POST."""

from typing import TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Recent(dict[Key, Value]):
    """The `size_max` values noted last, by key. One that is not here may be stored all the same."""

    def __init__(self, size_max: int) -> None:
        super().__init__()
        self._size_max = size_max

    def note(self, key: Key, value: Value | None) -> None:
        """Keep a value as it is now, or None when there is none any more."""
        self.pop(key, None)
        if value is not None:
            self[key] = value
            if len(self) > self._size_max:
                del self[next(iter(self))]
