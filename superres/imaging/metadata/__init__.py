"""What a file says beside its pixels: read from the source, corrected, written to the result."""
