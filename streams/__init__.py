"""Events to counts to verdicts: the pure core and the drivers around it."""
