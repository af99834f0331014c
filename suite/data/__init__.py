"""What is asked and what is learned from: tasks, clips, alignment sets, imports."""
