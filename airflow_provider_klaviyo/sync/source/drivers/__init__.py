"""How each of the well-known SQL drivers streams rows, and what any other one is asked for."""
