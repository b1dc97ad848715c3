// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a kernel driver may do to its user, by order of a test: the parameters
 * in /sys/module/mdevtest/parameters, which hold for all devices.
 */
#include <linux/delay.h>
#include <linux/moduleparam.h>

#include "mdevtest.h"

/* The longest that a creation is held, for a test that dies. */
#define LONGEST_MS 10000

static bool hold_create;
module_param(hold_create, bool, 0644);
MODULE_PARM_DESC(hold_create, "Devices stay half created until it is off");

static unsigned int open_error;
module_param(open_error, uint, 0644);
MODULE_PARM_DESC(open_error, "Devices do not open, with this errno");

static unsigned int mmap_error;
module_param(mmap_error, uint, 0644);
MODULE_PARM_DESC(mmap_error, "Regions cannot be mapped, with this errno");

static unsigned int reset_error;
module_param(reset_error, uint, 0644);
MODULE_PARM_DESC(reset_error, "Devices cannot be reset, with this errno");

void mdevtest_fault_create(void)
{
	int waited;

	for (waited = 0; waited < LONGEST_MS && READ_ONCE(hold_create);
	     waited += 10)
		msleep(10);
}

/* What is no errno would be a pointer, or a success, to the caller. */
static int error(unsigned int number)
{
	return number <= MAX_ERRNO ? -(int)number : -EINVAL;
}

int mdevtest_fault_open(void)
{
	return error(READ_ONCE(open_error));
}

int mdevtest_fault_mmap(void)
{
	return error(READ_ONCE(mmap_error));
}

int mdevtest_fault_reset(void)
{
	return error(READ_ONCE(reset_error));
}
