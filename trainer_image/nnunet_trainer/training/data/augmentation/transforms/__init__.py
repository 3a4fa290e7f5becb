"""The transforms: how often and how strongly, what a sample draws, and what follows from that alone. numpy only."""
