"""The outside world: one technology a file, each behind the port that it implements."""
