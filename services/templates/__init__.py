"""Templates of each channel in their locales, as drafts and published versions."""
