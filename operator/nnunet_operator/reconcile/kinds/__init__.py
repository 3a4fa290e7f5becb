"""The life of each of the four kinds, and of what cannot be read. Parts of a Plans and of a TrainingRun have files of their own."""
