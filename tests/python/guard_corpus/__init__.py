"""A corpus of attacks and ordinary statements, with isolated databases as the oracle."""
