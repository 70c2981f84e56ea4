"""What a state is a state of, and what is said when that is something else."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from airflow_provider_klaviyo.state.errors import StateOfAnotherTarget

KEYS = "keys"
"""The part of a target that says how keys are spelled; states of before it had what each driver made of them."""


def differing_parts(found: Mapping[str, str], target: Mapping[str, str]) -> set[str]:
    """The names of the parts in which two targets differ, be it that only one has them.

    A state that does not say how it spells keys goes on as it is: another spelling would make new rows of old ones.
    """
    names = {*found, *target} - ({KEYS} - {*found})
    return {name for name in names if found.get(name) != target.get(name)}


def of_another_target(
    found: Mapping[str, str], target: Mapping[str, str], differing: Collection[str]
) -> StateOfAnotherTarget:
    """The error of a state that is of another target, with both of them and what to do.

    :param found: what the state is a state of.
    :param target: what it should be.
    :param differing: the names of the parts that differ.
    """
    shown = "; ".join(
        f"{name} was {found.get(name) or 'none'} and is now {target.get(name) or 'none'}"
        for name in {**found, **target}
        if name in differing
    )
    msg = (
        f"The state kept under this state_key is of another target: {shown}. Nothing was sent. If that is meant, "
        "run once with full_refresh=True, which starts a new state for the new target and sends every row; "
        "to keep both, give this sync a state_key of its own."
    )
    return StateOfAnotherTarget(msg)
