"""What a file says: its prose and its code, taken apart."""
