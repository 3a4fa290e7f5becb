"""What a training really takes of a GPU's memory: measured of a series of patches, and of a plug-in's network before it trains."""
