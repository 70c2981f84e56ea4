"""What Klaviyo has acknowledged, kept between runs.

From the caller down: ``opening`` gives the ``ledger``, which has the verbs that syncs use. Each is an entry
(``entries``) that the ``journal`` writes to the ``log`` and applies to the ``replica``: the ``table`` with its parts,
and ``doubts``. The log is a ``chain`` of ``stored`` files in a store (``stores``), on a disk or in an object store.
Beside it: ``lock`` and ``owner`` say who may use a state, ``notes`` are what syncs tell each other.
"""
