"""What a guarded connection must keep to itself, seen as a caller sees it: over HTTP, answer by answer."""
