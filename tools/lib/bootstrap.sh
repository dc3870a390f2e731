# Shared by the scripts in tools/: find the checkout, become root, install what is
# missing, keep the virtual environment current. To be sourced by bash.

set -o errexit -o nounset -o pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
venv=$root/.venv
python=$venv/bin/python

# A compiler and headers are for the fast engine.
RUNTIME_PACKAGES=(
  ca-certificates gcc iperf3 iproute2 iputils-ping libc6-dev libssl-dev nftables procps
  python3 python3-dev python3-venv wireguard-tools
)
TEST_PACKAGES=(
  "${RUNTIME_PACKAGES[@]}" bind9-dnsutils bind9-host conntrack curl dante-client
  dante-server dropbear-bin ethtool microsocks miniupnpd-nftables openssl socat
  tcpdump tinc tinyproxy tshark w3m wireguard-go
)

if [[ -t 1 ]]; then
  bold=$'\e[1m' red=$'\e[31m' green=$'\e[32m' plain=$'\e[0m'
else
  bold='' red='' green='' plain=''
fi

say() { printf '%s==>%s %s\n' "$bold" "$plain" "$*"; }
good() { printf '%s  ✓%s %s\n' "$green" "$plain" "$*"; }
bad() { printf '%s  ✗%s %s\n' "$red" "$plain" "$*" >&2; }

# become_root SCRIPT [ARGUMENT...]: go on as root, or say why not and stop.
become_root() {
  [[ $EUID -ne 0 ]] || return 0
  if ! command -v sudo >/dev/null; then
    bad "network namespaces need root: run this as root (there is no sudo here)"
    exit 1
  fi
  say "network namespaces need root: going on with sudo"
  exec sudo -- "$@"
}

# quietly COMMAND...: show the output of a command only if it fails.
quietly() {
  local output status=0
  output=$("$@" 2>&1) || status=$?
  [[ $status -eq 0 ]] || printf '%s\n' "$output" >&2
  return "$status"
}

# install_packages PACKAGE...: install those Debian packages that are missing.
install_packages() {
  local package missing=()
  for package in "$@"; do
    [[ $(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null) == installed ]] ||
      missing+=("$package")
  done
  [[ ${#missing[@]} -gt 0 ]] || return 0
  say "installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  quietly apt-get -o DPkg::Lock::Timeout=120 -qq update
  quietly apt-get -o DPkg::Lock::Timeout=120 -qq --no-install-recommends --yes \
    install "${missing[@]}"
}

# make_environment EXTRA: a virtual environment with meshnode and its dependencies;
# EXTRA is "", "[bench]" or "[dev]". Nothing happens while pyproject.toml and what is
# compiled stay as they were.
make_environment() {
  local extra=$1 stamp wanted installed
  stamp=$venv/installed${extra//[^a-z]/-}
  if ! "$python" -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' \
    2>/dev/null; then
    say "making the virtual environment"
    quietly python3 -m venv --clear "$venv"
  fi
  wanted=$(cat "$root/pyproject.toml" "$root"/meshnode/dataplane/fast/*.p[xy][dx] | sha256sum)
  # What the tests need includes what running and measuring need.
  for installed in "$stamp" "$venv/installed-dev-"; do
    [[ $(cat "$installed" 2>/dev/null) != "$wanted" ]] || return 0
  done
  say "installing meshnode$extra into the virtual environment"
  quietly "$python" -m pip install --quiet --disable-pip-version-check \
    --root-user-action=ignore --editable "$root$extra"
  printf '%s\n' "$wanted" >"$stamp"
}

# sweep_up: remove what killed laboratories left, and say whether all is clean.
sweep_up() {
  if (cd "$root" && python3 -m topology.leaks --sweep); then
    good "no namespace, interface, process or rule is left behind"
  else
    bad "the things above were left behind; they are removed now"
    return 1
  fi
}
