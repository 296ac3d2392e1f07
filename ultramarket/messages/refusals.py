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
    """412 `version_mismatch` where the caller expects another version than the present one; None where all is well.

    A version below 0 stands for what was no version of ours at all.
    """
    if expect is None or expect == version:
        return None
    other = f"not {expect}" if expect >= 0 else "and the ETag that came is none of its own"
    return Rejection(
        "version_mismatch",
        f"This is version {version}, {other}: read it again and repeat the change.",
        412,
        extra={"version": str(version)},
    )
