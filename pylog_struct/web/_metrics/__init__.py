"""What a scrape asks for, and what it is answered."""
