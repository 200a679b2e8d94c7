#!/usr/bin/env bash
# Decorrelate a directory of exposures.
#
#   batch.sh DIR [options of decorr batch ...]
#
# DIR has one sub-directory for each exposure, with sci.fits, tmpl.fits, diff.fits and, if the kernel is not in
# diff.fits, kernel.fits. Next to them appears diff_decorr.fits; in DIR, what became of each: decorr.results.jsonl, and a
# table, decorr.summary.ecsv, that decorr report reads.
#
# Run it again to resume. A file of each exposure in an option is, for example, --psf '{dir}/psf.fits'.
set -euo pipefail

if [ $# -lt 1 ] || [ ! -d "$1" ]; then
    echo 'usage: batch.sh DIR [options of decorr batch ...]' >&2
    exit 2
fi
directory=$1
shift

manifest() {
    echo 'science,template,difference,kernel'
    for difference in "$directory"/*/diff.fits; do
        folder=$(dirname "$difference") kernel=
        if [ -e "$folder/kernel.fits" ]; then kernel=$folder/kernel.fits; fi
        printf '"%s","%s","%s","%s"\n' "$folder/sci.fits" "$folder/tmpl.fits" "$difference" "$kernel"
    done
}

manifest | decorr batch - --results "$directory/decorr.results.jsonl" --summary "$directory/decorr.summary.ecsv" "$@"
