"""`why`: what an object waits for, and what to do about it."""
