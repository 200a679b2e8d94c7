#!/usr/bin/env bash
# Decorrelate a directory of exposures, as a survey's batch job would.
#
#   batch.sh [-j JOBS] [-r RETRIES] DIR [options of decorr run ...]
#
# DIR has one sub-directory for each exposure, with sci.fits, tmpl.fits, diff.fits and, if the kernel is not in
# diff.fits, kernel.fits. Next to them appear
#
#   diff_decorr.fits   the result, whole or not at all
#   decorr.json        its figures
#   decorr.log         what decorr said about it
#   decorr.bad         instead of these, for an exposure whose files cannot be used: why not
#
# Files named in options are looked for in each sub-directory: --psf psf.fits is that of the exposure, and what all
# exposures share needs an absolute path.
#
# Run it again to resume: what is done is left alone, and so is what was found bad, unless an input has changed since.
# Exit status: 0 all done; 3 all done but for bad input; 1 something else failed; 2 wrong usage, nothing further tried.
set -euo pipefail

usage() {
    echo 'usage: batch.sh [-j JOBS] [-r RETRIES] DIR [options of decorr run ...]' >&2
    exit 2
}

# ---- one exposure: called by xargs, says on one line what became of it

newer_than_inputs() { # FILE: exists and is not older than any input of the exposure
    [ -e "$1" ] || return 1
    for input in sci.fits tmpl.fits diff.fits kernel.fits; do
        if [ -e "$input" ] && [ "$input" -nt "$1" ]; then return 1; fi
    done
}

one() { # EXPOSURE [options ...]
    local exposure=$1 kernel=diff.fits attempt status=1
    shift
    cd "$exposure" || { echo "failed $exposure"; return; }
    if newer_than_inputs diff_decorr.fits; then echo "skipped $exposure"; return; fi
    if newer_than_inputs decorr.bad; then echo "bad $exposure"; return; fi
    rm -f decorr.bad
    [ -e kernel.fits ] && kernel=kernel.fits
    for ((attempt = 0; attempt <= RETRIES; attempt++)); do
        status=0
        # One thread each: several exposures at a time are faster than several threads on one.
        "$DECORR" run sci.fits tmpl.fits diff.fits --kernel "$kernel" -o diff_decorr.fits --overwrite --threads 1 \
            --json "$@" >decorr.json.part 2>decorr.log || status=$?
        case $status in
            0) mv decorr.json.part decorr.json; echo "done $exposure"; return ;;
            2) rm -f decorr.json.part; cat decorr.log >&2; echo "usage $exposure"; exit 255 ;; # xargs stops at 255
            3) rm -f decorr.json.part; mv decorr.log decorr.bad; echo "bad $exposure"; return ;;
            130 | 143) rm -f decorr.json.part; echo "failed $exposure"; exit 255 ;;
        esac
    done
    rm -f decorr.json.part
    echo "failed $exposure"
}

if [ "${1-}" = --one ]; then
    shift
    # xargs puts the exposure last.
    one "${!#}" "${@:1:$#-1}"
    exit 0
fi

# ---- all of them

jobs=$(nproc 2>/dev/null || echo 1)
export RETRIES=1 DECORR=${DECORR:-decorr}
while getopts j:r: option; do
    case $option in
        j) jobs=$OPTARG ;;
        r) RETRIES=$OPTARG ;;
        *) usage ;;
    esac
done
shift $((OPTIND - 1))
case "$jobs$RETRIES" in *[!0-9]*) usage ;; esac
[ $# -ge 1 ] || usage
[ -d "$1" ] || { echo "batch.sh: $1: no such directory" >&2; exit 2; }
command -v "$DECORR" >/dev/null || { echo "batch.sh: $DECORR: no such command" >&2; exit 2; }
directory=$1
shift
self=$(cd "$(dirname "$0")" && pwd)/$(basename "$0")

tally=$(mktemp)
trap 'rm -f "$tally"' EXIT
find -L "$directory" -mindepth 2 -maxdepth 2 -name diff.fits -print0 | sort -z |
    while IFS= read -r -d '' file; do printf '%s\0' "$(dirname "$file")"; done |
    xargs -0 -r -n 1 -P "$jobs" "$self" --one "$@" >"$tally" || true

count() { grep -c "^$1 " "$tally" || true; }
for kind in bad failed; do
    sed -n "s/^$kind //p" "$tally" | sort | while IFS= read -r exposure; do
        if [ "$kind" = bad ]; then reason=$exposure/decorr.bad; else reason=$exposure/decorr.log; fi
        echo "$kind: $exposure: $(tail -n 1 "$reason" 2>/dev/null || echo 'no log')"
    done
done
total=$(find -L "$directory" -mindepth 2 -maxdepth 2 -name diff.fits -printf x | wc -c)
finished=$(count done) skipped=$(count skipped) bad=$(count bad) wrong=$(count usage)
if [ "$wrong" -gt 0 ]; then
    echo "batch.sh: decorr does not understand these options; nothing further was tried" >&2
    exit 2
fi
failed=$((total - finished - skipped - bad))
echo "$total exposures: $finished done, $skipped done before, $bad bad, $failed failed"
if [ "$failed" -gt 0 ]; then exit 1; fi
if [ "$bad" -gt 0 ]; then exit 3; fi
