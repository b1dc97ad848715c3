# shellcheck shell=bash
# Messages and the folder of one run.

note() {
    printf 'kernel tests: %s\n' "$*" >&2
}

die() {
    note "$*"
    exit 1
}

# Runs a command with its output in a file, which is shown if it fails.
quietly() {
    local log=$1
    shift
    "$@" >"$log" 2>&1 || {
        tail -n 40 -- "$log" >&2
        die "failed: $*"
    }
}

# Each run has a folder of its own, so that runs cannot disturb each other.
prepare_work_dir() {
    # Left behind by runs that were killed.
    find "$cache" -maxdepth 1 -name 'run.*' -mmin +1440 -exec rm -rf {} +
    work=$(mktemp -d "$cache/run.XXXXXXXX")
    tests_log=$work/tests.log
    console_log=$work/console.log
    # The guest's disk, empty.
    truncate --size 16M "$work/disk"
    make_rom >"$work/rom"
    # Logs of an earlier run would only mislead.
    rm -f -- "$logs"/*.log
    trap 'keep_logs interrupted; rm -rf -- "$work"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
}

# Moves the logs of a boot to where they stay, as those of a machine.
keep_logs() {
    local log
    for log in "$tests_log" "$console_log"; do
        if [[ -e $log ]]; then
            mv -f -- "$log" "$logs/$1.${log##*/}"
        fi
    done
}

# An expansion ROM for pci-testdev: the header, at 0x1c what the header points to
# (PCI Firmware Specification 3, 5.1), and zeroes up to 512 bytes.
make_rom() {
    printf '\x55\xaa\x01'
    head -c 21 /dev/zero
    printf '\x1c\0\0\0'
    printf 'PCIR\x36\x1b\x05\0\0\0\x18\0\0\0\xff\0\x01\0\0\0\0\x80\0\0'
    head -c 460 /dev/zero
}
