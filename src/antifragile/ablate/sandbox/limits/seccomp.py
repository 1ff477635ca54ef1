"""A filter of system calls: some are refused for good, to a process and to all that it starts.

Linux 3.5 and later, on x86-64 and ARM64; no rights needed. Refused are memory that no count sees
(System V segments, files without a name or place) and rings of calls that no filter sees. Unix
sockets stay: the workers of a data loader send tensors through them.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys
from dataclasses import dataclass

from antifragile.ablate.sandbox.limits import kernel

_LOAD, _JUMP_EQUAL, _JUMP_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_NUMBER_AT, _PROCESSOR_AT = 0, 4  # in the kernel's `seccomp_data`
_ALLOW, _FAIL_WITH = 0x7FFF_0000, 0x0005_0000
_OTHER_NUMBERS = 0x4000_0000  # from here on, those of the x32 interface
_RING, _SECRET_FILE = 425, 447  # the same number on every processor
_SET_FILTER, _FILTER = 22, 2


@dataclass(frozen=True, kw_only=True)
class _Calls:
    """Numbers of calls on a processor."""

    processor: int
    segment: int
    nameless_file: int


_KNOWN = {
    "x86_64": _Calls(processor=0xC000_003E, segment=29, nameless_file=319),
    "aarch64": _Calls(processor=0xC000_00B7, segment=194, nameless_file=279),
}


def refuse_calls() -> None:
    """Refuse this process the calls from now on.

    Raises:
        OSError: The kernel offers no filter, or the processor is another one.
    """
    if not sys.platform.startswith("linux") or os.uname().machine not in _KNOWN:
        raise OSError(errno.ENOSYS, "no numbers of system calls are known here")
    lines = _program(_KNOWN[os.uname().machine])
    code = ctypes.create_string_buffer(b"".join(lines))
    program = ctypes.create_string_buffer(struct.pack("HP", len(lines), ctypes.addressof(code)))
    kernel.forbid_new_privileges()
    kernel.control(_SET_FILTER, _FILTER, ctypes.addressof(program))


def _program(calls: _Calls) -> list[bytes]:
    unknown = _FAIL_WITH | errno.ENOSYS
    lines = [
        _line(_LOAD, _PROCESSOR_AT),
        _line(_JUMP_EQUAL, calls.processor, then=1),
        _line(_RETURN, unknown),
        _line(_LOAD, _NUMBER_AT),
        _line(_JUMP_LEAST, _OTHER_NUMBERS, otherwise=1),
        _line(_RETURN, unknown),
    ]
    for number in (calls.segment, calls.nameless_file, _RING, _SECRET_FILE):
        lines += [_line(_JUMP_EQUAL, number, otherwise=1), _line(_RETURN, unknown)]
    return [*lines, _line(_RETURN, _ALLOW)]


def _line(what: int, value: int, *, then: int = 0, otherwise: int = 0) -> bytes:
    """An instruction; a jump leaves out so many of the next."""
    return struct.pack("HBBI", what, then, otherwise, value)
