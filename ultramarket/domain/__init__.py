"""Pure calculations that actors and edges share: no IO, no clock, no random."""
