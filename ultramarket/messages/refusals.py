"""The refusals that every actor shares, so that one mistake reads the same everywhere."""

from collections.abc import Sequence

from ultramarket.errors import Fault, Rejection


def not_found(noun: str) -> Rejection:
    """Nothing with this id: 404 `not_found`; `noun` is the word for people, e.g. `cart`."""
    return Rejection("not_found", f"There is no such {noun}.", 404)


def invalid(faults: Sequence[Fault]) -> Rejection:
    """What was sent can't be: 422 `invalid`, with each fault and its place."""
    return Rejection("invalid", "; ".join(fault.detail for fault in faults), 422, tuple(faults))


def version_mismatch(expect: int | None, version: int) -> Rejection | None:
    """412 `version_mismatch` where the caller expects another version than the present one; None where all is well."""
    if expect is None or expect == version:
        return None
    return Rejection(
        "version_mismatch",
        f"This is version {version}, not {expect}: read it again and repeat the change.",
        412,
        extra={"version": str(version)},
    )
