"""YAML in, Policy out; counts and policy in, verdicts and controls out. Pure."""
