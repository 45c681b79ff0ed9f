# Sourced by gpu_check.sh and gpu_train.sh: parts with time limits, and the packages that gpu_pack.sh packed.
: "${OUT:?set OUT to a folder for results}"
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")
export python=${PYTHON:-python3} site=$root/build/gpu-site kit=$root/build/gpu-check
# Triton keeps what it measured, so that only the first process measures
export PYTHONPATH=$site:$root/src TRITON_CACHE_AUTOTUNING=1
mkdir -p "$OUT"
OUT=$(cd "$OUT" && pwd)
log=$OUT/$(basename "$0" .sh).log # one file: some machines return few
failed=()

part() { # NAME SECONDS COMMAND…
    local name=$1 most=$2 begun=$SECONDS left=$((LIMIT - SECONDS)) code ended
    shift 2
    [ "$most" -lt "$left" ] || most=$left
    if [ "$most" -lt 5 ]; then
        failed+=("$name")
        echo "== $name: SKIPPED, no time left" | tee -a "$log"
        return
    fi
    echo "=== $name: $*" >> "$log"
    timeout -k 5 "$most" "$@" 2>&1 < /dev/null | stdbuf -oL tr '\r' '\n' | grep --line-buffered -v -e '%|' -e '^ *$' |
        tee -a "$log" | tail -n 4 | cut -c 1-600
    code=${PIPESTATUS[0]}
    case $code in
        0) ended=done ;;
        124 | 137) ended=STOPPED ;;
        *) ended=FAILED ;;
    esac
    [ "$code" = 0 ] || failed+=("$name")
    echo "== $name: $ended after $((SECONDS - begun)) s" | tee -a "$log"
}

unpack() { # NAME FOLDER ARCHIVE…: the one folder in an archive, which can be in pieces
    local name=$1 folder=$2
    shift 2
    [ ! -e "$folder" ] || return 0
    # shellcheck disable=SC2016
    part "$name" 90 bash -euo pipefail -c 'folder=$1; shift; rm -rf "$folder.new"; mkdir -p "$folder.new"
        cat "$@" > "$folder.new/archive"
        "$python" -m tarfile -e "$folder.new/archive" "$folder.new"; rm "$folder.new/archive"
        mv "$folder.new"/* "$folder"; rmdir "$folder.new"; ls "$folder" | wc -l' - "$folder" "$@"
}

finish() {
    [ ${#failed[@]} = 0 ] || { echo "not passed: ${failed[*]}" | tee -a "$log"; exit 1; }
    echo "all parts passed" | tee -a "$log"
}
