"""What the services share: logging, HTTP server and client, health, tokens."""
