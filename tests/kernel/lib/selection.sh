# shellcheck shell=bash
# Which tests run on which machine, decided before anything is booted.

# Fills $work/root/etc/machines: a folder for each machine that has something to
# do, with the files `modules`, `runs` (executables with routes) and one for each
# executable (its tests). Sets `booted`, the machines of which there is a folder.
select_tests() {
    local exe machine run list=$work/root/etc/machines dir

    mkdir -p "$list"
    for exe in "${test_names[@]}"; do
        # An executable for the guest runs on the host too, as long as it runs no test.
        "$work/root/tests/$exe" --list --format terse </dev/null |
            sed -n 's/: test$//p' >"$work/$exe.all" || die "$exe does not list its tests"
        sort_by_machine "$exe"
    done
    booted=()
    for machine in "${wanted_machines[@]}"; do
        define_machine "$machine"
        check_test_modules "$machine"
        dir=$list/$machine
        mkdir "$dir"
        printf '%s\n' "${kernel_modules[@]}" | sed '/^$/d' >"$dir/modules"
        for run in "${runs[@]}"; do
            exe=${run%@*}
            matching <"$work/$exe.$machine" >"$dir/$exe"
            if [[ -s $dir/$exe ]]; then
                echo "$run" >>"$dir/runs"
            elif ((${#filters[@]} == 0)); then
                die "$exe has no test for the machine $machine"
            fi
        done
        if [[ -e $dir/runs ]]; then
            booted+=("$machine")
        fi
    done
}

# Divides the tests of an executable into $work/EXE.MACHINE.
sort_by_machine() {
    local exe=$1 name module machine only
    local -A machine_of=()
    only=$(machine_of_executable "$exe")

    for machine in "${machines[@]}"; do
        : >"$work/$exe.$machine"
    done
    while read -r name; do
        machine=$only
        if [[ $exe == kernel_guest ]]; then
            module=${name%%::*}
            [[ -n ${machine_of[$module]:-} ]] || machine_of[$module]=$(machine_of_module "$module")
            machine=${machine_of[$module]}
        fi
        echo "$name" >>"$work/$exe.$machine"
    done <"$work/$exe.all"
}

# A module without a test is one that was renamed: its tests would run on the
# wrong machine.
check_test_modules() {
    local module
    for module in "${test_modules[@]}"; do
        grep -q "^$module::" "$work/kernel_guest.all" ||
            die "the machine $1 names the module $module, in which kernel_guest has no test"
    done
}

# The names that one of the filters, if there are any, is a part of.
matching() {
    local filter patterns=()
    for filter in "${filters[@]:-}"; do
        patterns+=(-e "$filter")
    done
    grep -F "${patterns[@]}" || true
}
