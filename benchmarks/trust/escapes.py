"""Models that try to get out of the processes that run them; each is the body of ``build``.

The names that a body uses: `SCENE`, what lies around (see `children.Scene`), and the functions of
`PRELUDE`. `won(...)` ends it with a sentence that says it reached something.
"""

from __future__ import annotations

from dataclasses import dataclass

PRELUDE = '''
import contextlib, ctypes, glob, json, mmap, os, signal, socket, subprocess, sys, time
import torch

SCENE = json.load(open("scene.json"))
libc = ctypes.CDLL(None, use_errno=True)


def won(what):
    raise RuntimeError("ESCAPED: " + what)


def shell(line):
    subprocess.run(["sh", "-c", line], stderr=subprocess.DEVNULL)


def others():
    """Other processes that can be seen."""
    mine = {os.getpid(), os.getppid()}
    return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if pid not in mine]


def daemon(what):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for number in (1, 2, 15):
                signal.signal(number, signal.SIG_IGN)
            what()
        os._exit(0)
    os.wait()


def build():
    tries()
    return torch.nn.Linear(4, 2)


def inputs():
    return (torch.randn(3, 4),)


def tries():
'''


@dataclass(frozen=True, kw_only=True)
class Escape:
    """A way out that is tried.

    Args:
        name: Its name.
        code: Body of a function.
        right: Words of the sentence in which the command should end; "" where it should end well.
        weak: Mechanisms without which it is not stopped.
    """

    name: str
    code: str
    right: str = ""
    weak: tuple[str, ...] = ()


ESCAPES = (
    Escape(name="control: reads", code="assert open(SCENE['file']).read() == 'precious'"),
    Escape(name="daemon", code="daemon(lambda: time.sleep(float(SCENE['nap'])))"),
    Escape(
        name="daemon without environment",
        code="daemon(lambda: os.execve('/bin/sleep', ['sleep', SCENE['nap']], {}))",
        weak=("keeper",),
    ),
    Escape(
        name="stop the parent",
        code="libc.kill(os.getppid(), signal.SIGSTOP)\ntime.sleep(0.5)",
    ),
    Escape(
        name="stop the server",
        code="for pid in others():\n    libc.kill(pid, signal.SIGSTOP)\ntime.sleep(0.5)",
    ),
    Escape(
        name="memory of forks",
        code="""
for _ in range(4):
    if os.fork() == 0:
        held = bytearray(400 * 2**20)
        held[::4096] = b"x" * len(held[::4096])
        time.sleep(60)
time.sleep(60)""",
        right="memory limit",
    ),
    Escape(
        name="memory without a name",
        code="""
files = [os.memfd_create("x") for _ in range(8)]
for file in files:
    for _ in range(300):
        os.write(file, b"x" * 2**20)
time.sleep(60)""",
        right="not implemented",
    ),
    Escape(
        name="memory on its way",
        code="""
for number in range(30):
    file = os.memfd_create("x")
    for _ in range(64):
        os.write(file, b"x" * 2**20)
    pair = socket.socketpair()
    socket.send_fds(pair[0], [b"x"], [file])
    os.close(file)
    globals()[f"pair_{number}"] = pair
won("2 GB of memory in messages that nobody reads")""",
        right="not implemented",
        weak=("call_filter",),
    ),
    Escape(
        name="System V memory",
        code="""
libc.shmat.restype = ctypes.c_void_p
for _ in range(15):
    number = libc.shmget(0, ctypes.c_size_t(128 * 2**20), 0o1600)
    if number < 0:
        raise OSError(ctypes.get_errno(), "shmget")
    place = ctypes.c_void_p(libc.shmat(number, None, 0))
    ctypes.memset(place, 1, 128 * 2**20)
    libc.shmdt(place)
won("1.9 GB of memory that no process holds")""",
        right="shmget",
        weak=("call_filter",),
    ),
    Escape(
        name="shared memory and other",
        code="""
for number in range(9):
    with open(f"/dev/shm/{SCENE['mark']}-{number}", "wb") as file:
        file.write(b"x" * 50 * 2**20)
held = bytearray(400 * 2**20)
held[::4096] = b"x" * len(held[::4096])
time.sleep(2)
won("850 MiB of memory, 450 of them in files")""",
        right="memory limit",
        weak=("mount_namespace",),
    ),
    Escape(
        name="shared memory",
        code="""
for number in range(40):
    with open(f"/dev/shm/{SCENE['mark']}-{number}", "wb") as file:
        file.write(b"x" * 64 * 2**20)
won("2.5 GiB of shared memory")""",
        right="No space left",
        weak=("mount_namespace",),
    ),
    Escape(
        name="huge file",
        code="""
with open("huge", "wb") as file:
    for _ in range(8000):
        file.write(b"x" * 2**20)
won("a file of 8 GB")""",
        right="File too large",
    ),
    Escape(
        name="many files",
        code="""
for number in range(100_000):
    with open(str(number), "wb") as file:
        file.write(b"x" * 2**20)
won("100 GB of files")""",
        right="more files than the limit",
    ),
    Escape(
        name="files without a name",
        code="""
for number in range(100):
    file = open(str(number), "wb", buffering=0)
    os.unlink(str(number))
    globals()[f"kept_{number}"] = file
    for _ in range(300):
        file.write(b"x" * 2**20)
won("30 GB of files that nobody sees")""",
        right="more files than the limit",
    ),
    Escape(
        name="files below a path that is too long",
        code="""
for _ in range(20):
    os.mkdir("d" * 250)
    os.chdir("d" * 250)
for number in range(100):
    with open(str(number), "wb") as file:
        os.posix_fallocate(file.fileno(), 0, 300 * 2**20)
    time.sleep(0.05)
won("30 GB of files that no path leads to")""",
        right="more files than the limit",
    ),
    Escape(
        name="files in a closed folder",
        code="""
os.mkdir("hidden")
os.chdir("hidden")
os.chmod(".", 0o300)
for number in range(100):
    with open(str(number), "wb") as file:
        os.posix_fallocate(file.fileno(), 0, 300 * 2**20)
    time.sleep(0.05)
won("30 GB of files that nobody may look at")""",
        right="more files than the limit",
    ),
    Escape(
        name="folders in folders",
        code="""
here = os.getcwd()
for _ in range(3000):
    libc.mkdir(b"d", 0o755)
    libc.chdir(b"d")
os.chdir(here)""",
    ),
    Escape(
        name="fork bomb",
        code="while True:\n    with contextlib.suppress(OSError):\n        os.fork()",
        right="processes",
    ),
    Escape(name="write outside", code="shell('echo x > ' + SCENE['new'])"),
    Escape(name="write to HOME", code="shell('echo x > ' + SCENE['home'] + '/new')"),
    Escape(
        name="overwrite in place",
        code="shell('printf spoiled 1<>' + SCENE['file'])",
    ),
    Escape(
        name="link swapped in",
        code="libc.symlink(SCENE['file'].encode(), b'swap')\nshell('echo spoiled > swap')",
    ),
    Escape(
        name="hard link",
        code="libc.link(SCENE['file'].encode(), b'hard')\nshell('echo spoiled > hard')",
    ),
    Escape(
        name="mode of a file", code="shell('chmod 777 ' + SCENE['file'])", weak=("mount_namespace",)
    ),
    Escape(
        name="time of a file",
        code="shell('touch -d 2001-01-01 ' + SCENE['file'])",
        weak=("mount_namespace",),
    ),
    Escape(
        name="answer of another job",
        code="""
for folder in glob.glob(os.path.join(SCENE["temporary"], "antifragile-*", "*")):
    if os.path.basename(folder) not in os.environ["HOME"].split("/"):
        libc.creat(os.path.join(folder, "answer").encode(), 0o644)
        libc.creat(os.path.join(folder, "weights.safetensors").encode(), 0o644)""",
    ),
    Escape(
        name="TCP to this machine",
        code="socket.create_connection(SCENE['address'], timeout=2).send(b'x')",
        right="OSError",
    ),
    Escape(
        name="UDP to this machine",
        code="socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', tuple(SCENE['address']))",
        right="OSError",
        weak=("network_namespace",),
    ),
    Escape(
        name="abstract socket",
        code="socket.socket(socket.AF_UNIX).connect('\\0' + SCENE['mark'])",
        right="Error",
    ),
    Escape(
        name="socket of a service",
        code="socket.socket(socket.AF_UNIX).connect(SCENE['socket'])",
        right="Error",
        weak=("mount_namespace",),
    ),
    Escape(
        name="socket that no list names",
        code="socket.socket(socket.AF_UNIX).connect(SCENE['relative socket'])",
        right="Error",
        weak=("mount_namespace",),
    ),
    Escape(name="kill another process", code="libc.kill(SCENE['victim'], 9)"),
    Escape(
        name="trace another process",
        code="""
for pid in {SCENE["victim"], *others(), os.getppid()}:
    if pid and libc.ptrace(16, pid, None, None) == 0:
        won(f"process {pid} is traced")""",
    ),
    Escape(
        name="rights regained",
        code="""
libc.unshare(0x10000000 | 0x20000)
libc.mount(None, b"/", None, 32 | 4096, None)
libc.umount2(b"/proc", 2)
shell("echo x > " + SCENE["new"])
shell("mount -o remount,rw / && echo x > " + SCENE["new"])""",
    ),
    Escape(
        name="the kernel's settings and disks",
        code="""
for path in ("/proc/sys/vm/swappiness", "/proc/sysrq-trigger", *glob.glob("/dev/[sv]d?")):
    if libc.open(path.encode(), 1) >= 0:
        won(path + " is open to write")""",
    ),
    Escape(
        name="flood of words",
        code="""
until = time.monotonic() + 2
while time.monotonic() < until:
    for number in (1, 2):
        os.write(number, b"x" * 2**16)
    print("y" * 2**16, file=sys.stderr)""",
    ),
    Escape(
        name="hang",
        code="signal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True:\n    pass",
        right="did not end within",
    ),
)
