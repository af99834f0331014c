"""An example plug-in: one method, one task, one model and one judge, one file each."""
