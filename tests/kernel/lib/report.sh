# shellcheck shell=bash
# Reads the logs of each machine. What is not proved to have passed has failed.

passed=0
failed=0

# Kernel messages that no healthy run holds.
kernel_trouble='BUG[: ]|WARNING: |Oops|Kernel panic|cut here|INFO: |possible (circular|recursive|irq) '
kernel_trouble+='|inconsistent lock state|suspicious RCU|detected stalls|self-detected stall|blocked for more than'
kernel_trouble+='|general protection fault|unable to handle|corruption|Poison overwritten|Redzone overwritten'
kernel_trouble+='|UBSAN|KASAN|refcount_t|lock freed|soft lockup|hard LOCKUP|nobody cared'

# A failure that no single test stands for.
problem() {
    failed=$((failed + 1))
    echo "FAILED: ${machine:+$machine: }$*"
}

# The logs of a boot that has ended.
report_machine() {
    local line exe='' finished=() ended=no in_dmesg=no dmesg=() failed_before=$failed
    local machine=$1 wanted lists=$work/root/etc/machines/$1
    mapfile -t wanted <"$lists/runs"

    while IFS= read -r line || [[ -n $line ]]; do
        line=${line//$'\r'/}
        if [[ $in_dmesg == yes && $line != '@mdevbus end' ]]; then
            dmesg+=("$line")
            continue
        fi
        case $line in
        '@mdevbus start '*)
            exe=${line#@mdevbus start }
            executable_begin
            ;;
        '@mdevbus exit '*)
            executable_end "${line##* }"
            finished+=("$exe")
            exe=
            ;;
        '@mdevbus load '*) problem "the module ${line##* } does not load" ;;
        '@mdevbus unload '*) problem "the module ${line##* } does not unload" ;;
        '@mdevbus leftover '*) echo "note: the tests left the device ${line##* } behind" ;;
        '@mdevbus dmesg') in_dmesg=yes ;;
        '@mdevbus end')
            in_dmesg=no
            ended=yes
            ;;
        *) [[ -z $exe ]] || executable_line "$line" ;;
        esac
    done <"$tests_log"

    [[ -z $exe ]] || problem "$exe did not finish${pending:+, it was running $pending}"
    [[ "${finished[*]}" == "${wanted[*]}" ]] ||
        problem "ran (${finished[*]}) to the end instead of (${wanted[*]})"
    report_kernel "$ended" "${dmesg[@]}"

    if ((failed > failed_before)); then
        # Whoever looks at the output of a build machine sees nothing else.
        echo "--- end of the tests' output ---"
        sed '/^@mdevbus dmesg/,$d' "$tests_log" | tr -d '\r' | tail -n 40
        echo
        echo "--- end of the kernel's messages ---"
        { printf '%s\n' "${dmesg[@]}"; tr -d '\r' <"$console_log"; } | tail -n 60
        echo "--- whole logs: $logs/$machine.tests.log, $logs/$machine.console.log ---"
    fi
}

report_total() {
    ((passed > 0)) || problem "no test has passed"
    echo "$passed passed, $failed failed"
    ((failed == 0))
}

report_kernel() {
    local ended=$1 trouble
    shift

    if ((qemu_status == 124 || qemu_status == 137)); then
        problem "it did not end within $time_limit s"
    elif ((qemu_status)); then
        problem "QEMU ended with status $qemu_status"
    fi
    [[ $ended == yes ]] || problem "it did not reach its end"

    trouble=$({ printf '%s\n' "$@"; cat "$console_log"; } | grep -aE "$kernel_trouble" || true)
    if [[ -n $trouble ]]; then
        printf 'kernel: %s\n' "$trouble"
        problem "the kernel complained"
    fi
}

executable_begin() {
    results=0 oks=0 failures=0
    exe_passed=0 exe_failed=0
    summary='' pending='' in_failures=no
    expected=$(wc -l <"$lists/${exe%@*}")
}

# One line of libtest's output. A test's own output may stand between its name
# and its result; the check against the summary catches what that hides.
executable_line() {
    local line=$1 name

    if [[ $line =~ ^test\ result:\ (ok|FAILED)\.\ ([0-9]+)\ passed\;\ ([0-9]+)\ failed\;\ ([0-9]+)\ ignored ]]; then
        summary=${BASH_REMATCH[1]}
        exe_passed=${BASH_REMATCH[2]} exe_failed=${BASH_REMATCH[3]}
        exe_results=$((exe_passed + exe_failed + BASH_REMATCH[4]))
        in_failures=no
    elif [[ $line == failures: ]]; then
        in_failures=yes
        echo "$machine: $exe: $line"
    elif [[ $in_failures == yes ]]; then
        echo "    $line"
    elif [[ $line =~ ^test\ (.+)\ \.\.\.\ (ok|FAILED|ignored.*)$ ]]; then
        test_result "${BASH_REMATCH[1]%% ... *}" "${BASH_REMATCH[2]}"
    elif [[ $line == 'test '*' ... '* ]]; then
        name=${line#test }
        pending=${name%% ... *}
    elif [[ -n $pending && $line =~ (ok|FAILED)$ ]]; then
        test_result "$pending" "${BASH_REMATCH[1]}"
    fi
}

test_result() {
    echo "$machine: $exe: test $1 ... $2"
    results=$((results + 1))
    case $2 in
    ok) oks=$((oks + 1)) ;;
    FAILED) failures=$((failures + 1)) ;;
    esac
    pending=
}

executable_end() {
    local status=$1

    # What was seen counts; the executable's own numbers have to agree with it.
    passed=$((passed + oks))
    failed=$((failed + failures))
    if [[ -z $summary ]]; then
        problem "$exe ended with status $status and without a result${pending:+, it was running $pending}"
    elif ((oks != exe_passed || failures != exe_failed || results != exe_results)); then
        problem "$exe printed $results results ($oks ok, $failures failed), but counts $exe_results ($exe_passed ok, $exe_failed failed)"
    elif [[ $status != 0 && $exe_failed == 0 ]]; then
        problem "$exe ended with status $status though no test failed"
    elif ((exe_passed + exe_failed != expected)); then
        problem "$exe ran $((exe_passed + exe_failed)) of $expected tests"
    elif [[ $status == 0 && ($summary != ok || $exe_failed != 0) ]]; then
        problem "$exe ended with status 0 though tests failed"
    fi
    pending=
}
