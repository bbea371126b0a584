"""What can go wrong on the ground. Every message is one line: what, where, what was expected."""


class GroundError(Exception):
    """Base of all errors of this package."""


class UsageError(GroundError):
    """A command, argument, option or file that the operator got wrong; nothing was sent."""


class LinkError(GroundError):
    """No satellite at the port, or the link ended."""


class CommandRefused(GroundError):
    """Ground itself refuses to send: the satellite speaks another ICD, or never said which one."""


class WaitTimeout(GroundError):
    """A wait that was not fulfilled within its simulated time."""


class CommandFailed(GroundError):
    """The satellite rejected the command or failed in it; reason and detail are the satellite's."""

    def __init__(self, message: str, reason: str = "none", detail: int = 0) -> None:
        super().__init__(message)
        self.reason = reason
        self.detail = detail


class CommandTimeout(CommandFailed):
    """A stage of a command did not come within its simulated time; it may still come."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "timeout")
