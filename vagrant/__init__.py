"""Virtual machines with a kernel of their own, by Vagrant and libvirt.

The laboratory in `topology` shares the machine's kernel; these do not, so here meshnode
meets the kernel's own WireGuard. Opt-in: see `tools/vagrant-test --help`.
"""
