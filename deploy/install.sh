#!/bin/sh
# Puts an agent on this machine from the checkout this script lies in: program, user, folders, systemd unit, sample
# configuration. Run again it upgrades the program and leaves key, configuration and state alone. See deploy/README.md.
set -eu

usage() {
  cat <<'EOF'
Usage: deploy/install.sh [--prefix DIR] [--import DIR] [--start] [--dry-run] [--root DIR]
       deploy/install.sh --uninstall [--purge] [--prefix DIR] [--dry-run] [--root DIR]

  --prefix DIR   where the program goes (/opt/fluidcloud)
  --import DIR   a folder outside /var/lib/fluidcloud that grants may open to peers; can be given again on a later run
  --start        enable and (re)start the agent; without it nothing is started, stopped or restarted
  --dry-run      print what would be done, change nothing
  --root DIR     install below DIR, as for an image: no user is created, systemd is not called
  --uninstall    stop the agent, remove program and unit; key, state, configuration and images stay
  --purge        with --uninstall: remove key, state, configuration and user too; imported images outside them stay

Examples:
  sudo deploy/install.sh --import /srv/images
  sudo -u fluidcloud fluidcloud --home /var/lib/fluidcloud init --name my-cloud
  sudo deploy/install.sh --start
EOF
}

fail() {
  printf 'install.sh: %s\n' "$1" >&2
  exit "${2:-1}"
}

say() { printf '%s\n' "$*"; }

# Every change to the machine goes through here.
run() {
  if [ "$dry_run" = yes ]; then
    printf '  would run: %s\n' "$*"
  else
    "$@"
  fi
}

# Writes standard input to a file: write_file MODE PATH.
write_file() {
  if [ "$dry_run" = yes ]; then
    cat >/dev/null
    printf '  would write: %s (mode %s)\n' "$2" "$1"
  else
    temporary=$2.new.$$
    cat >"$temporary"
    chmod "$1" "$temporary"
    mv -f "$temporary" "$2"
  fi
}

absolute() {
  case $2 in
    *[!A-Za-z0-9/._+-]*) fail "$1 $2: only letters, digits and / . _ + - are possible in the path" 2 ;;
    */../* | */.. | */./* | */.) fail "$1 $2: write the path without . and .." 2 ;;
    /?*) printf '%s\n' "${2%/}" ;;
    *) fail "$1 $2 is not an absolute path" 2 ;;
  esac
}

checkout=$(cd "$(dirname "$0")/.." && pwd -P)
prefix=/opt/fluidcloud root='' import='' dry_run=no start=no mode=install purge=no
while [ $# -gt 0 ]; do
  case $1 in
    --prefix | --root | --import)
      [ $# -ge 2 ] || fail "$1 needs a folder" 2
      value=$(absolute "$1" "$2") || exit $?
      case $1 in
        --prefix) prefix=$value ;;
        --root) root=$value ;;
        --import) import=$value ;;
      esac
      shift
      ;;
    --dry-run) dry_run=yes ;;
    --start) start=yes ;;
    --uninstall) mode=uninstall ;;
    --purge) purge=yes ;;
    -h | --help) usage && exit 0 ;;
    *) usage >&2 && fail "Unknown option $1" 2 ;;
  esac
  shift
done

user=fluidcloud
state=/var/lib/fluidcloud
config=/etc/fluidcloud/config.toml
unit=/etc/systemd/system/fluidcloud-agent.service
dropins=$unit.d
launcher=/usr/local/bin/fluidcloud

[ "$mode" = uninstall ] || [ "$purge" = no ] || fail '--purge goes with --uninstall' 2
[ -z "$root" ] || [ "$start" = no ] || fail '--start does nothing below --root' 2
case $prefix in
  / | /bin | /boot | /dev | /etc | /home | /lib* | /opt | /proc | /root | /run | /sbin | /srv | /sys | /tmp | /usr | \
    /usr/bin | /usr/lib | /usr/local | /usr/share | /var | /var/lib | "$state" | "$state"/*)
    fail "--prefix $prefix would be replaced as a whole: name a folder of its own" 2
    ;;
esac
# A folder is ours, to be replaced or removed, when it holds our package.
ours() { grep -q '"name": "fluidcloud"' "$1/package.json" 2>/dev/null; }
if [ -e "$root$prefix" ] && ! ours "$root$prefix"; then
  [ -z "$(ls -A "$root$prefix")" ] || fail "$root$prefix exists and is not FluidCloud's: choose another --prefix" 2
fi
case $checkout/ in
  "$root$prefix"/*) [ "$mode" = uninstall ] || fail "This checkout is $root$prefix itself: install from elsewhere, or with another --prefix" 2 ;;
esac
[ -n "$root" ] || [ "$dry_run" = yes ] || [ "$(id -u)" -eq 0 ] || fail 'This needs root: run it with sudo, or look first with --dry-run'

# True when a systemd runs this machine and the installation is for it.
has_systemd() { [ -z "$root" ] && [ -d /run/systemd/system ]; }
has_user() { [ -z "$root" ] && getent passwd "$user" >/dev/null; }

install_program() {
  say "Program: $root$prefix"
  new=$root$prefix.install.$$ old=$root$prefix.replaced.$$
  if [ "$dry_run" = no ]; then trap 'rm -rf "$new"' EXIT; fi
  run mkdir -p "$new"
  for part in agent bin broker deploy protocol transfer package.json package-lock.json LICENSE README.md; do
    [ ! -e "$checkout/$part" ] || run cp -R "$checkout/$part" "$new/"
  done
  # The one slow step, and the one that can fail: what is installed stays as it is until this is done.
  run npm --prefix "$new" ci --omit=dev --prefer-offline --no-audit --no-fund --loglevel=error
  [ -n "$root" ] || run chown -R root:root "$new"
  run chmod -R u+rwX,go+rX,go-w "$new"
  if [ -e "$root$prefix" ]; then run mv "$root$prefix" "$old"; fi
  run mv "$new" "$root$prefix"
  run rm -rf "$old"

  run mkdir -p "$root${launcher%/*}"
  if [ -e "$root$launcher" ] && [ ! -L "$root$launcher" ]; then
    say "  $root$launcher is not ours and stays: call $prefix/bin/fluidcloud"
  else
    run ln -sfn "$prefix/bin/fluidcloud" "$root$launcher"
  fi
}

install_user() {
  [ -z "$root" ] || return 0
  has_user || {
    say "User: $user"
    run useradd --system --user-group --home-dir "$state" --no-create-home --shell /usr/sbin/nologin "$user"
  }
}

# Creates a folder that belongs to the agent: own_folder MODE PATH. One that exists keeps its mode and owner.
own_folder() {
  [ -d "$root$2" ] && return 0
  run mkdir -p "$root$2"
  run chmod "$1" "$root$2"
  [ -n "$root" ] || run chown "$user:$user" "$2"
}

install_state() {
  say "State: $root$state"
  own_folder 0700 "$state"
  run mkdir -p "$root${config%/*}"
  if [ -e "$root$config" ]; then
    write_file 0644 "$root$config.sample" <"$checkout/deploy/config.toml"
    say "  $root$config is kept; what this version knows is in config.toml.sample"
  else
    name=$(uname -n | tr -c 'A-Za-z0-9.\n-' '-')
    sed "s/^name = .*/name = \"$name\"/" "$checkout/deploy/config.toml" | write_file 0640 "$root$config"
    [ -n "$root" ] || run chgrp "$user" "$config"
  fi
  # The agent looks for config.toml in its home; init keeps one that is there.
  if [ ! -e "$root$state/config.toml" ] && [ ! -L "$root$state/config.toml" ]; then
    run ln -s "$config" "$root$state/config.toml"
  fi
}

install_unit() {
  say "Unit: $root$unit"
  run mkdir -p "$root$dropins"
  sed "s#/opt/fluidcloud#$prefix#g" "$checkout/deploy/systemd/fluidcloud-agent.service" | write_file 0644 "$root$unit"
  if [ -n "$import" ]; then
    own_folder 0750 "$import"
    # One drop-in for each folder, named after it.
    dropin=$dropins/import-$(printf '%s' "${import#/}" | tr -c 'A-Za-z0-9.' '-').conf
    sed "s#/srv/images#$import#g" "$checkout/deploy/systemd/import.conf" | write_file 0644 "$root$dropin"
  fi
  if has_systemd; then run systemctl daemon-reload; fi
}

next_steps() {
  say ''
  if has_systemd && [ "$start" = yes ]; then
    run systemctl enable fluidcloud-agent.service
    run systemctl restart fluidcloud-agent.service
    say 'Started. See: systemctl status fluidcloud-agent, journalctl -u fluidcloud-agent'
    return 0
  fi
  if has_systemd && systemctl is-active --quiet fluidcloud-agent.service; then
    say 'The agent still runs the program it was started with. Its jobs go on after: systemctl restart fluidcloud-agent'
    return 0
  fi
  say 'Nothing was started. Next:'
  [ -e "$root$state/identity.key" ] || say "  sudo -u $user fluidcloud --home $state init --name $(uname -n)"
  say "  edit $config and open its two ports (4001/tcp and 4002/tcp by default)"
  say '  systemctl enable fluidcloud-agent && systemctl restart fluidcloud-agent'
  command -v qemu-nbd >/dev/null || say '  apt-get install qemu-utils     (to read qcow2, vmdk, vhdx and vdi images)'
}

uninstall() {
  if has_systemd && [ -e "$unit" ]; then run systemctl disable --now fluidcloud-agent.service; fi
  say "Program and unit: $root$prefix, $root$unit"
  run rm -rf "$root$prefix"
  run rm -f "$root$unit" "$root$dropins"/import-*.conf
  # An administrator's own drop-ins stay, and so does their folder.
  if [ -d "$root$dropins" ]; then run rmdir --ignore-fail-on-non-empty "$root$dropins"; fi
  if [ "$(readlink "$root$launcher" 2>/dev/null)" = "$prefix/bin/fluidcloud" ]; then run rm -f "$root$launcher"; fi
  if has_systemd; then run systemctl daemon-reload; fi
  if [ "$purge" = yes ]; then
    say "Identity, state, images received in it and configuration: $root$state, $root${config%/*}"
    run rm -rf "$root$state" "$root${config%/*}"
    if has_user; then run userdel "$user"; fi
  else
    say "Kept: $root$state (identity, state, images), $root${config%/*}. --purge removes them"
  fi
}

umask 022
if [ "$mode" = uninstall ]; then
  uninstall
else
  [ -f "$checkout/agent/main.ts" ] || [ "$dry_run" = yes ] || fail "$checkout holds no agent/main.ts: run this from a whole checkout"
  command -v npm >/dev/null || fail 'No npm found: apt-get install npm'
  install_program
  install_user
  install_state
  install_unit
  next_steps
fi
