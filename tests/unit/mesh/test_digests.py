"""The digest tree: sums, counts, children and leaves of a set of ids."""

import pytest

from meshnode.mesh.digests import DigestTree


def eight(number: int) -> bytes:
    """Return a number as an id or fingerprint."""
    return number.to_bytes(8, "big")


def test_an_empty_tree_has_the_digest_zero() -> None:
    """And 16 children of the same digest, and no entries."""
    tree = DigestTree()
    assert tree.root == (bytes(8), 0)
    assert tree.children(b"") == (bytes(8),) * 16
    assert tree.entries(b"") == ()


def test_the_digest_is_the_sum_of_the_fingerprints_modulo_two_to_the_64() -> None:
    """It wraps around."""
    tree = DigestTree()
    tree.add(eight(1), b"\xff" * 8)
    tree.add(eight(2), eight(3))
    assert tree.root == (eight(2), 2)


def test_the_same_id_again_replaces_its_fingerprint() -> None:
    """It does not count twice."""
    tree = DigestTree()
    tree.add(eight(1), eight(10))
    tree.add(eight(1), eight(4))
    assert tree.root == (eight(4), 1)
    assert tree.fingerprint_of(eight(1)) == eight(4)


def test_removing_undoes_adding() -> None:
    """And removing what is not there changes nothing."""
    tree = DigestTree()
    tree.add(eight(1), eight(10))
    tree.remove(eight(2))
    assert tree.root == (eight(10), 1)
    tree.remove(eight(1))
    assert tree.root == (bytes(8), 0)
    assert tree.fingerprint_of(eight(1)) is None


def test_a_child_is_the_part_of_its_nibble() -> None:
    """At a kept level and at one below, which is added up on demand."""
    tree = DigestTree()
    tree.add(bytes.fromhex("123456789abcdef0"), eight(5))
    assert tree.children(b"")[1] == eight(5)
    assert tree.children(b"\1\2")[3] == eight(5)
    assert tree.children(b"\1\2\3\4\5")[6] == eight(5)
    assert sum(any(digest) for digest in tree.children(b"\1\2\3\4\5")) == 1


def test_the_last_prefix_of_a_level_has_an_end() -> None:
    """Ids of all ones are below the prefix of all ones."""
    tree = DigestTree()
    tree.add(b"\xff" * 8, eight(1))
    assert tree.count(b"\x0f" * 16) == 1
    assert tree.entries(b"\x0f") == ((b"\xff" * 8, eight(1)),)


def test_an_id_has_no_children() -> None:
    """The tree is 16 levels deep."""
    with pytest.raises(ValueError, match="children"):
        DigestTree().children(bytes(16))


@pytest.mark.parametrize("prefix", [b"\x10", bytes(17)])
def test_a_prefix_that_is_none_is_refused(prefix: bytes) -> None:
    """A nibble is below 16, and there are 16 of them."""
    with pytest.raises(ValueError, match="nibble"):
        DigestTree().count(prefix)


def test_ids_and_fingerprints_have_eight_bytes() -> None:
    """Anything else is our own mistake."""
    with pytest.raises(ValueError, match="8 bytes"):
        DigestTree().add(b"short", eight(1))
