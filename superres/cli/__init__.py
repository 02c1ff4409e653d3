"""The command line: ``superres NAME`` is in NAME.py, here or in cli/ of another package."""
