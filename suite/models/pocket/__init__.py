"""The embedded pocket LALM: a few million parameters, real architecture, own speech."""
