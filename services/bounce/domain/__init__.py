"""Pure rules: from the bytes of a mail to a fact, from a fact to a suppression."""
