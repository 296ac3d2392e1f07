"""What actors are told, what they record and how they show themselves: one file an actor."""
