"""How an object stands, for people and tools: conditions, events, messages."""
