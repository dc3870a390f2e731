"""The operating system: TUN, UDP, netlink, privileges, the journal of changes."""
