"""Arrays in, counts out; counts in, evidence out. Pure."""
