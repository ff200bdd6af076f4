"""Rules as data: what a rule says, how its words become patterns, and which matching rule wins."""
