"""What every room stands on: records, errors, files, locks, registries, chat servers."""
