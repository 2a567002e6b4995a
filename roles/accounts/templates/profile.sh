# Written by Seawall.
umask {{ accounts_umask }}
ulimit -c 0
# `|| :` because a second login shell meets the first one's read-only variable.
readonly TMOUT={{ accounts_shell_timeout }} 2>/dev/null || :
export TMOUT
