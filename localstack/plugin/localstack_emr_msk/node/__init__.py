"""Programs on a node, which run as their own processes, not inside LocalStack."""
