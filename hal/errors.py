"""The exceptions of hal. Each carries one clear line: what, where, and what was expected."""


class HalError(Exception):
    """Base of everything that hal raises on purpose."""


class RigError(HalError):
    """A rig, satellite or orbit file is missing, malformed, or holds a value that cannot be flown."""


class LinkError(HalError):
    """A link cannot be opened: absent or busy port, unknown URL, no permission."""


class ImageError(HalError):
    """A firmware image is missing, malformed, damaged, or not for the board that it is meant for."""


class FlashError(HalError):
    """An image was not put on a board, or is not what the board runs afterwards."""


class LinkDownError(HalError):
    """An open link has ended: unplugged, or its process exited. The link has closed itself."""


class PortError(LinkError):
    """A port cannot be had. `why`: "absent", "busy", "permission" or "other"."""

    def __init__(self, message: str, why: str) -> None:
        super().__init__(message)
        self.why = why


class BoardRefusedError(HalError):
    """A board could not prove its identity: other ICD, other kind, other role, or silent."""


class WorldError(HalError):
    """The world cannot do what was asked: unknown board, fault that a back end cannot inject, closed world."""


class UpdateError(HalError):
    """A board did not take a new image, or its new image did not prove itself."""


class RecordingError(HalError):
    """A recording cannot be written or read: not one, another version, damaged, or of something else than asked for."""
