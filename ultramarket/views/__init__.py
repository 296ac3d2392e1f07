"""The read side: views projected from the log, each with its queries. They can be thrown away and rebuilt."""
