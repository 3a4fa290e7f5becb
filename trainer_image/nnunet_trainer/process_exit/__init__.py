"""How a process ends when not well: any error as a report's, kills for want of memory, an end although the main thread is stuck."""
