"""The metrics, one file each; a module registers its metrics when it is imported."""
