"""E-mail addresses and phone numbers in Klaviyo's form."""
