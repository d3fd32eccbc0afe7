"""What a session costs, and what a hundred million listeners would."""
