"""An example plug-in: a method, a part, a metric, a task, a judge and a model, one file each."""
