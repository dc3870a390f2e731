#!/bin/bash
# Inside a machine, as root: install meshnode from the wheels in /root/wheels.
#
# Nothing is fetched. Bytecode is made of what a node uses only: in an emulated machine
# that of all modules takes longer than the rest, and that of none lets the four processes
# of the first node make it at the same time, longer than a start may take.

set -o errexit -o nounset -o pipefail

wheels=/root/wheels
target=/opt/meshnode

# With the machine's pip: an environment's own would take half a minute to make.
python3 -m venv --without-pip "$target"
PYTHONPATH=/usr/lib/python3/dist-packages "$target/bin/python" -m pip install \
  --quiet --disable-pip-version-check --root-user-action=ignore --no-compile \
  --no-index --find-links "$wheels" --ignore-installed meshnode

"$target/bin/python" -m compileall -q "$target"/lib/python3*/site-packages/meshnode
"$target/bin/python" -c 'import h11, msgpack, nacl.bindings, pyroute2, trio'

for program in "$target"/bin/meshnode*; do
  ln -sf "$program" /usr/local/bin/
done

meshnode service >/etc/systemd/system/meshnode@.service
systemctl daemon-reload
