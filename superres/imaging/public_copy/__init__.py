"""Copies of image files for everybody: the same pixels, without what tells of people and places."""
