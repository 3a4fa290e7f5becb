"""What only a GPU shows. `checks` are functions that benchmarks/gpu.py runs first; without a GPU some of them run on the CPU."""
