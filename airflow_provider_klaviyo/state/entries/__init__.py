"""What happens to a state: each kind of entry of its log knows how it is written and what it changes."""
