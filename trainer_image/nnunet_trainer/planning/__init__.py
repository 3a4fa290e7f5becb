"""From a fingerprint to plans: pure functions of numbers."""
