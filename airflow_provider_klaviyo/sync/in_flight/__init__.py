"""What is on its way to Klaviyo about members of a list, known to every sync that could make it worse."""
