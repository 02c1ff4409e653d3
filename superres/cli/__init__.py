"""The command line. ``superres NAME`` is NAME.py here or in cli/ of jobs, ingestion or notifier."""
