"""Writes images in the formats of results, with what each can carry beside the pixels."""
