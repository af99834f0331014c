"""What a response is: one verdict each."""
