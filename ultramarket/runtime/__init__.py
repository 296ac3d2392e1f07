"""The machinery of actors: turns, partitions, commits, messages, timers. It knows no word of the shop."""
