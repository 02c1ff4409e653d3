"""What lies on a node: programs that run as processes of their own, not as part of LocalStack."""
