"""What Airflow's UI shows of syncs: a tab on the task instance, and a page of all of them."""
