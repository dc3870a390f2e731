#!/bin/bash
# Inside a machine, as root: install meshnode from the wheels in /root/wheels.
#
# Nothing is fetched. Bytecode is not made in advance: in an emulated machine that takes
# longer than all the rest, and most modules are never used.

set -o errexit -o nounset -o pipefail

wheels=/root/wheels
target=/opt/meshnode

# With the machine's pip: an environment's own would take half a minute to make.
python3 -m venv --without-pip "$target"
PYTHONPATH=/usr/lib/python3/dist-packages "$target/bin/python" -m pip install \
  --quiet --disable-pip-version-check --root-user-action=ignore --no-compile \
  --no-index --find-links "$wheels" --ignore-installed meshnode

for program in "$target"/bin/meshnode*; do
  ln -sf "$program" /usr/local/bin/
done

meshnode service >/etc/systemd/system/meshnode@.service
systemctl daemon-reload
