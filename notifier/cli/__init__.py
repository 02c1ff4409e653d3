"""The command of the notifier."""
