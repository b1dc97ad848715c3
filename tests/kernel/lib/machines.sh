# shellcheck shell=bash
# The machines. Each is one boot, with devices, a kernel command line and tests
# of its own. A test runs on one machine: a module of kernel_guest (a file in
# guest/) that a machine names is run there and nowhere else, and all that no
# machine names on the machine `default`. Another executable runs on the one
# machine that has it among its runs.

machines=(default no_remapping no_iommu no_mdev)

# Sets what a machine is:
#   devices         QEMU's
#   append          of the kernel's command line
#   kernel_modules  that are loaded, in this order
#   test_modules    of kernel_guest that it names
#   runs            test executables, each by a route
define_machine() {
    devices=() append='' test_modules=()
    # mdev is the samples' common part; without it they do not load.
    kernel_modules=(mdev mtty mdpy mbochs mdevtest)
    runs=(kernel_guest@cdev kernel_guest@group)
    case $1 in
    # All there is. Tests name the PCI devices by their addresses.
    default)
        runs=(devices@cdev devices@group "${runs[@]}")
        append='intel_iommu=on vfio_pci.enable_sriov=1'
        # The IOMMU has to come before the devices behind it. What is behind the
        # bridge shares one IOMMU group. At more than 5 GT/s Linux waits after a
        # reset for a link state that QEMU's root port does not show, and gives up.
        devices=(
            -device intel-iommu,intremap=on
            -device edu,addr=4
            -object memory-backend-ram,id=shared,size=1M,share=on
            -device ivshmem-plain,memdev=shared,addr=5
            -blockdev "driver=file,node-name=disk,filename=$work/disk"
            -device nvme,serial=mdevbus,drive=disk,addr=6
            -device pcie-pci-bridge,id=bridge,addr=7
            -device edu,bus=bridge,addr=1
            -netdev user,id=nowhere,restrict=on
            -device e1000e,bus=bridge,addr=2,netdev=nowhere,romfile=
            -device pcie-root-port,id=rootport,chassis=1,slot=1,addr=8,x-speed=5
            -device nvme-subsys,id=subsystem
            -device nvme,serial=functions,subsys=subsystem,bus=rootport,sriov_max_vfs=2,sriov_vq_flexible=4,sriov_vi_flexible=2
            -device pcie-root-port,id=netport,chassis=2,slot=2,addr=a
            -netdev user,id=nowhere_either,restrict=on
            -device igb,bus=netport,netdev=nowhere_either,romfile=
            -device "pci-testdev,addr=9,romfile=$work/rom"
        )
        ;;
    # An IOMMU that does not remap interrupts.
    no_remapping)
        append='intel_iommu=on intremap=off'
        test_modules=(no_remapping)
        # The second has MSI with more vectors than one.
        devices=(
            -device intel-iommu,intremap=off
            -device edu,addr=4
            -device nec-usb-xhci,msi=on,msix=off,intrs=4,addr=5
        )
        ;;
    # No IOMMU. A device without one has no character device of VFIO.
    no_iommu)
        runs=(kernel_guest@group kernel_guest_no_iommu@group)
        test_modules=(iommu_off)
        devices=(-device edu,addr=4)
        ;;
    # A kernel that nobody has loaded a module with mediated devices into.
    no_mdev)
        runs=(kernel_guest@group)
        kernel_modules=()
        test_modules=(no_mdev)
        ;;
    *) die "there is no machine '$1'; there are: ${machines[*]}" ;;
    esac
}

# The first machine that runs the executable.
machine_of_executable() {
    local machine
    for machine in "${machines[@]}"; do
        define_machine "$machine"
        if [[ " ${runs[*]}" == *" $1@"* ]]; then
            echo "$machine"
            return
        fi
    done
    die "no machine runs $1"
}

# Which machine names the module; `default` if none does.
machine_of_module() {
    local machine
    for machine in "${machines[@]}"; do
        define_machine "$machine"
        if [[ " ${test_modules[*]} " == *" $1 "* ]]; then
            echo "$machine"
            return
        fi
    done
    echo default
}
