"""What people ask of objects, for both shells: names, the chain as a tree, why something waits, curves; and what they ask for."""
