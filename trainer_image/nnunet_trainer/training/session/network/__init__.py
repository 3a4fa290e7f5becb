"""How the network computes on its device: memory layouts and which is fastest, whether convolutions are right, random layers."""
