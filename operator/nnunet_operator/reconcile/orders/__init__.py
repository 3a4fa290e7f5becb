"""What each Job is to do, from a spec and what it refers to; or what is missing for it. One file a step."""
