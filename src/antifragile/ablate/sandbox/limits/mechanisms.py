"""The kernel's mechanisms that hold a job, each of which a system may lack."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True, kw_only=True)
class Mechanisms:
    """Mechanisms that may be used, or that are in force.

    Args:
        process_namespace: A job's processes see no others, and the kernel ends all with the first.
        mount_namespace: All but a job's own folders is read-only, for all that it does.
        network_namespace: A job has a network of its own that leads nowhere.
        landlock: Version of Landlock, which holds back writes, signals and TCP; 0 for none.
        call_filter: Some system calls are refused (see `seccomp`).
        adoption: Processes that a job leaves are adopted, so that they can be found and ended.
        shares: Memory that processes share is counted once.
    """

    process_namespace: bool = True
    mount_namespace: bool = True
    network_namespace: bool = True
    landlock: int = 99
    call_filter: bool = True
    adoption: bool = True
    shares: bool = True

    def and_also(self, other: Mechanisms) -> Mechanisms:
        """Those that both have."""
        pairs = {name: (value, getattr(other, name)) for name, value in asdict(self).items()}
        return Mechanisms(**{name: min(pair) for name, pair in pairs.items()})

    @property
    def needs_users(self) -> bool:
        """Whether one of them takes a namespace of users, in which this process has the rights."""
        return self.process_namespace or self.mount_namespace or self.network_namespace

    @property
    def holds_group(self) -> bool:
        """Whether all processes of a job are found at its end."""
        return self.process_namespace or self.adoption

    @property
    def needs_keeper(self) -> bool:
        """Whether a process must adopt what a job leaves, as the kernel ends nothing by itself."""
        return self.adoption and not self.process_namespace


NONE = Mechanisms(
    process_namespace=False,
    mount_namespace=False,
    network_namespace=False,
    landlock=0,
    call_filter=False,
    adoption=False,
    shares=False,
)
"""For training runs, which are the user's own."""
