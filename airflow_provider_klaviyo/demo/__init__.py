"""The demo: a shop in SQL, a Klaviyo, a real Airflow between them, and a report to read."""
