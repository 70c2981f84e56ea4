"""What can be wrong with a state; each message says what to do."""

from __future__ import annotations

from airflow_provider_klaviyo.exceptions import KlaviyoConfigurationError, KlaviyoRetryableError


class StateOfAnotherTarget(KlaviyoConfigurationError):
    """The state is that of another account, list or key."""


class StateOfAnotherTask(KlaviyoConfigurationError):
    """The state is another task's, which has the same name for its own."""


class StateDamaged(KlaviyoConfigurationError):
    """A file of the state is missing or not what was written."""


class StateUnreadable(KlaviyoConfigurationError):
    """The state was written by a release whose files this one does not know."""


class StateConflict(KlaviyoRetryableError):
    """Another run wrote to the state meanwhile; nothing that this run would have written is lost or mixed in."""


class OlderRun(KlaviyoConfigurationError):
    """The state has come further than this run would bring it."""


class StateLocked(KlaviyoRetryableError):
    """Another run of the sync is under way."""


class JobsUnderWay(StateLocked):
    """Klaviyo is at work on what an earlier run of the sync has sent."""
