# shellcheck shell=bash
# QEMU. No KVM: an openable /dev/kvm does not mean that guests run, and the
# emulated processor is fast enough.

# The first serial line is the kernel's console, the second carries the tests'
# output, so that kernel messages cannot tear a result line apart. The kernel
# hands what it does not know of its command line to init, as environment. On a
# busy host its check of the timer fails, and that would be a panic.
qemu() {
    local devices append kernel_modules test_modules runs machine=$1 rest=$2
    shift 2
    define_machine "$machine"
    "$@" -accel tcg,thread=multi -machine q35,kernel-irqchip=split -cpu max \
        -smp 2 -m 1G -nodefaults -display none -no-reboot \
        -kernel "$kernel_dir/bzImage" -initrd "$work/initramfs.gz" \
        -append "console=ttyS0 quiet no_timer_check panic=-1 oops=panic log_buf_len=16M slub_debug=FZPU $append MACHINE=$machine $rest" \
        "${devices[@]}"
}

# Sets qemu_status: 0, 124 if the time limit ended it, anything else is trouble.
boot_tests() {
    local started=$SECONDS
    : >"$tests_log"
    : >"$console_log"
    note "booting the machine $1; live logs: $tests_log, $console_log"
    qemu_status=0
    qemu "$1" "" timeout --kill-after=10 "$time_limit" qemu-system-x86_64 \
        -serial "file:$console_log" -serial "file:$tests_log" </dev/null || qemu_status=$?
    note "it ran for $((SECONDS - started)) s"
}

boot_shell() {
    note "leave the shell with 'exit', or QEMU with Ctrl-A X"
    qemu "$1" SHELL_WANTED=yes qemu-system-x86_64 -serial mon:stdio
}
