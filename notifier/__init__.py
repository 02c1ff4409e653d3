"""The notifier: a live gallery of results, their events as webhooks, and a REST interface."""
