#!/bin/sh
# Runs one droplet, boot after boot. Started in the droplet's folder; its words are the command that boots it.
#
# It outlives the daemon that started it. Each boot gets a network namespace of its own, as a machine's
# addresses and firewall begin anew with each boot, with links that stand before the machine looks.
#
#   groups    the control groups to sign in to, one cgroup.procs a line
#   region    the namespace the links lead to        namespace   the droplet's own, if it shares this kernel
#   links     ip commands, run in the region's        ports       host sides of the links
#   again     there while the machine goes down to be rebooted
set -u
while read -r door; do
    echo $$ >"$door" || exit 1
done <groups
region=$(cat region)
namespace=$(cat namespace)

while :; do
    # A link goes before its namespace: removing only the namespace would take the link away some time later.
    for port in $(cat ports); do
        ip -n "$region" link delete "$port" 2>/dev/null
    done
    if [ -n "$namespace" ]; then
        ip netns delete "$namespace" 2>/dev/null
        ip netns add "$namespace" || exit 1
    fi
    ip -n "$region" -batch links || exit 1
    "$@" </dev/null
    ended=$?
    # 133: systemd-nspawn's word for "the machine asked to be rebooted".
    rm again 2>/dev/null || [ "$ended" = 133 ] || exit "$ended"
done
