"""Links from Airflow into Klaviyo."""
