"""Shared memory of a size that nobody can change."""

import mmap
import os

import pytest

from meshnode.errors import HostError
from meshnode.host.memory import create_sealed, create_shared, map_shared, read_sealed


def test_two_mappings_see_each_other() -> None:
    """What one writes, the other reads, also after the descriptor is closed."""
    fd = create_shared("test", 8192)
    writer, reader = map_shared(fd, 8192), map_shared(fd, 8192, writable=False)
    os.close(fd)
    assert reader[:] == bytes(8192)
    writer[4000:4005] = b"hello"
    assert reader[4000:4005] == b"hello"
    writer.close()
    reader.close()


@pytest.mark.parametrize("size", [0, 4096, 16384])
def test_size_is_sealed(size: int) -> None:
    """The file can neither shrink nor grow, so no reader gets SIGBUS."""
    fd = create_shared("test", 8192)
    with pytest.raises(PermissionError):
        os.ftruncate(fd, size)
    assert os.fstat(fd).st_size == 8192
    os.close(fd)


def test_descriptor_is_not_inherited() -> None:
    """The memfd is closed on exec."""
    fd = create_shared("test", 1)
    assert not os.get_inheritable(fd)
    os.close(fd)


def test_read_only_mapping_cannot_be_written() -> None:
    """A reader that writes gets an exception, not the memory."""
    fd = create_shared("test", 4096)
    reader = map_shared(fd, 4096, writable=False)
    os.close(fd)
    with pytest.raises(TypeError):
        reader[0] = 1
    reader.close()


def test_mapping_beyond_the_end_is_refused() -> None:
    """A mapping larger than the file would end in SIGBUS."""
    fd = create_shared("test", 4096)
    with pytest.raises(HostError, match="cannot map"):
        map_shared(fd, 4097)
    os.close(fd)


def test_mapping_is_left_out_of_core_dumps() -> None:
    """The kernel marks the mapping "dd", do not dump."""
    fd = create_shared("dumptest", 4096)
    mapping = map_shared(fd, 4096)
    os.close(fd)
    with open("/proc/self/smaps") as smaps:
        section = smaps.read().partition("/memfd:dumptest")[2]
    flags = section.partition("VmFlags:")[2].partition("\n")[0].split()
    assert "dd" in flags
    mapping.close()


def test_impossible_size_is_an_error() -> None:
    """Memory that cannot be had is a HostError, and no descriptor is leaked."""
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(HostError, match="no shared memory"):
        create_shared("test", -mmap.PAGESIZE)
    assert set(os.listdir("/proc/self/fd")) == before


def test_what_is_sealed_is_read_and_never_changed() -> None:
    """Neither its bytes nor how many they are; a memfd of another kind is refused."""
    fd = create_sealed("test", b"a plan")
    assert read_sealed(fd, 6) == b"a plan"
    with pytest.raises(PermissionError):
        os.pwrite(fd, b"b", 0)
    for size in (5, 7):
        with pytest.raises(HostError, match="not what was said"):
            read_sealed(fd, size)
    os.close(fd)
    shared = create_shared("test", 4096)
    with pytest.raises(HostError, match="not what was said"):
        read_sealed(shared, 4096)
    os.close(shared)
    with open(os.devnull, "rb") as file, pytest.raises(HostError, match="cannot read"):
        read_sealed(file.fileno(), 0)
