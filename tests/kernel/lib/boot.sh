# shellcheck shell=bash
# QEMU. No KVM: an openable /dev/kvm does not mean that guests run, and the
# emulated processor is fast enough.

# The first serial line is the kernel's console, the second carries the tests'
# output, so that kernel messages cannot tear a result line apart.
qemu() {
    local append=$1
    shift
    # The IOMMU has to come before the devices behind it. The PCI devices have
    # fixed addresses because tests name them. What is behind the bridge shares
    # one IOMMU group.
    "$@" -accel tcg,thread=multi -machine q35,kernel-irqchip=split -cpu max \
        -smp 2 -m 1G -nodefaults -display none -no-reboot \
        -kernel "$kernel_dir/bzImage" -initrd "$work/initramfs.gz" \
        -append "console=ttyS0 panic=-1 oops=panic intel_iommu=on vfio_pci.enable_sriov=1 log_buf_len=16M slub_debug=FZPU $append" \
        -device intel-iommu,intremap=on \
        -device edu,addr=4 \
        -object memory-backend-ram,id=shared,size=1M,share=on \
        -device ivshmem-plain,memdev=shared,addr=5 \
        -blockdev "driver=file,node-name=disk,filename=$work/disk" \
        -device nvme,serial=mdevbus,drive=disk,addr=6 \
        -device pcie-pci-bridge,id=bridge,addr=7 \
        -device edu,bus=bridge,addr=1 \
        -netdev user,id=nowhere,restrict=on \
        -device e1000e,bus=bridge,addr=2,netdev=nowhere,romfile= \
        -device pcie-root-port,id=rootport,chassis=1,slot=1,addr=8 \
        -device nvme-subsys,id=subsystem \
        -device nvme,serial=functions,subsys=subsystem,bus=rootport,sriov_max_vfs=2,sriov_vq_flexible=4,sriov_vi_flexible=2 \
        -device pci-testdev,addr=9
}

# Sets qemu_status: 0, 124 if the time limit ended it, anything else is trouble.
boot_tests() {
    local started=$SECONDS
    : >"$tests_log"
    : >"$console_log"
    note "booting; live logs: $tests_log, $console_log"
    qemu_status=0
    qemu "quiet mdevbus=tests" timeout --kill-after=10 "$time_limit" qemu-system-x86_64 \
        -serial "file:$console_log" -serial "file:$tests_log" </dev/null || qemu_status=$?
    note "the guest ran for $((SECONDS - started)) s"
}

boot_shell() {
    note "leave the shell with 'exit', or QEMU with Ctrl-A X"
    qemu "quiet mdevbus=shell" qemu-system-x86_64 -serial mon:stdio
}
