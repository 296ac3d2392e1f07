"""The errors of the platform: one base, a message that says what to do, and the refusals that clients see."""

import msgspec


class UltraMarketError(Exception):
    """Something went wrong that a person can mend; the text says how."""


class ConfigurationError(UltraMarketError):
    """A setting is missing, unknown or invalid; the text names it. The command line exits with 2."""


class Unavailable(UltraMarketError):
    """The platform can't do this now; try again in `retry_after` seconds. Web answers 503.

    Attributes:
        code: stable code of the problem document, e.g. `mailbox_full`.
        retry_after: seconds until it makes sense to try again.
    """

    def __init__(self, code: str, detail: str, retry_after: int = 1) -> None:
        super().__init__(detail)
        self.code = code
        self.retry_after = retry_after


class Fault(msgspec.Struct, frozen=True):
    """One thing that is wrong with a request: where (a JSON pointer into the body) and what to do."""

    pointer: str
    detail: str


class Rejection(msgspec.Struct, frozen=True, tag="Rejection"):
    """A command that an entity refuses; nothing changed. It becomes a problem document (RFC 9457).

    Attributes:
        code: stable snake_case code, e.g. `out_of_stock`.
        detail: a sentence for people that says what to do.
        status: HTTP status, 4xx.
        errors: the parts of the request that are at fault.
        extra: further members of the problem document, e.g. `{"order": "/api/v1/orders/..."}`.
    """

    code: str
    detail: str
    status: int = 409
    errors: tuple[Fault, ...] = ()
    extra: dict[str, str] = {}
