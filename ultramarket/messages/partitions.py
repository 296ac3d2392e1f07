"""Kinds that have fewer partitions than others, because few write to them.

Each partition costs its take, its queue and consumer, and its hand-over whenever a process comes or goes. The migration
that brings a kind writes the same number into the table `setting`: it can't change once there is data.
"""

FEWER = {"category_tree": 1, "collection": 1, "redirect": 1, "review": 4}
"""Partitions by kind."""
