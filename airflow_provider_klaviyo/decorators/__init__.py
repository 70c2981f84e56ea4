"""Decorators of functions that are tasks: ``@task.klaviyo_…``."""
