"""Rules as data: what a rule says, how its words become patterns, and which of the rules that match wins."""
