"""Single bit flips into the memory and registers of boards at work: what they do, and what is told of it."""
