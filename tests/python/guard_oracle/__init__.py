"""The differential oracle: random SQL, guarded on shared data, must equal itself on isolated data."""
