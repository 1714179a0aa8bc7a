"""What the guard prints, read by PostgreSQL's own parser."""
