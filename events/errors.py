"""What can go wrong with the log, as one small tree.

LogError
├── Unavailable          the database cannot be reached, is locked or full: the same bytes may be sent later
├── DataRefused          the database (or a fold) refuses a value: the same bytes would be refused again
├── FoldVersionMismatch  the read models were made by another version of the folds
├── SchemaMismatch       the database is not at the newest migration
├── PayloadErased        the payload of an event was erased and cannot be read
├── UnusableKey          a key to sign attestations with cannot be read or made
└── InvalidAttestation   what should be an attestation is none, or somebody else signed it
"""


class LogError(Exception):
    """Base of every error that `events` and `projections` raise on purpose."""


class Unavailable(LogError):
    """The database did not take the write. Nothing of it is stored; sending the same bytes again is safe."""


class DataRefused(LogError):
    """A value cannot be stored. Trying again by smaller groups finds the item it belongs to."""


class FoldVersionMismatch(LogError):
    """The head was folded by another fold version or status rule than this process has."""

    def __init__(self, *, stored: str, own: str) -> None:
        super().__init__(
            f"the read models were folded by {stored}, this process folds by {own}: "
            "run the version that matches, or `agent-spy rebuild`"
        )
        self.stored = stored
        self.own = own


class SchemaMismatch(LogError):
    """The database's schema is not the one this program was written for."""


class PayloadErased(LogError):
    """The event's payload was erased; its place in the log remains."""

    def __init__(self, position: int) -> None:
        super().__init__(f"the payload of event {position} was erased")
        self.position = position


class UnusableKey(LogError):
    """A file holds no key to sign attestations with, or others may read it, or it cannot be made."""


class InvalidAttestation(LogError):
    """A text is no attestation, its signature is wrong, or it is not by the key that it should be by."""
