"""One file per kind of part."""
