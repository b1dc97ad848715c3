// SPDX-License-Identifier: GPL-2.0-only
/*
 * A platform device: no config space, a mappable and a tiny register block; and
 * the same for virtual machines only.
 */
#include "mdevtest.h"

#define READ_WRITE (VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE)

static const struct mdevtest_region_desc platform_regions[] = {
	{ .size = 0x1000, .flags = READ_WRITE | VFIO_REGION_INFO_FLAG_MMAP },
	{ .size = 0x20, .flags = READ_WRITE },
};

static const struct mdevtest_irq_desc platform_irqs[] = {
	{
		.count = 1,
		.flags = VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_AUTOMASKED,
	},
};

static void platform_reset(struct mdevtest_device *dev)
{
	u32 i;

	for (i = 0; i < ARRAY_SIZE(platform_regions); i++)
		mdevtest_ram_clear(dev, i);
}

#define PLATFORM_MODEL							\
	.flags = VFIO_DEVICE_FLAGS_PLATFORM | VFIO_DEVICE_FLAGS_RESET,	\
	.num_regions = ARRAY_SIZE(platform_regions),			\
	.num_irqs = ARRAY_SIZE(platform_irqs),				\
	.first_region = 0,						\
	.regions = platform_regions,					\
	.irqs = platform_irqs,						\
	.access = mdevtest_ram_access,					\
	.reset = platform_reset

const struct mdevtest_model mdevtest_platform = {
	PLATFORM_MODEL,
};

/* As i915's GVT-g and as vfio_ap answer. */
const struct mdevtest_model mdevtest_kvm = {
	PLATFORM_MODEL,
	.without_kvm = -ESRCH,
};

const struct mdevtest_model mdevtest_kvm_einval = {
	PLATFORM_MODEL,
	.without_kvm = -EINVAL,
};
