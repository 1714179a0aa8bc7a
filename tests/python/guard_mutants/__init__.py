"""The guard corpus against a guard that was broken on purpose: the guard's example binary, and PostgreSQL."""
