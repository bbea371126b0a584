"""The exceptions of flight. Each carries one clear line: what, where, and what was expected."""


class FlightError(Exception):
    """Base of everything that flight raises on purpose."""


class StorageError(FlightError):
    """The storage directory cannot be used: no permission, in use by another flight, not a storage of this version."""


class RadioError(FlightError):
    """The radio cannot listen: malformed address, port in use, not the loopback interface."""


class ReplayError(FlightError):
    """A recording cannot be replayed: it holds no flight, is of other software, or is malformed."""
