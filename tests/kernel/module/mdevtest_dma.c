// SPDX-License-Identifier: GPL-2.0-only
/* A device that does DMA: it pins a page of its user's memory and copies it. */
#include <linux/delay.h>
#include <linux/highmem.h>
#include <linux/iommu.h>

#include "mdevtest.h"

#define READ_WRITE (VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE)

#define REGISTERS 0
#define BUFFER 1

#define REG_IDENTITY 0x00
#define REG_STATUS 0x04
#define REG_IOVA 0x08
#define REG_DOORBELL 0x10

#define IDENTITY 0x20616d64
#define FROM_MEMORY 1
#define TO_MEMORY 2

static const struct mdevtest_region_desc dma_regions[] = {
	{ .size = 0x1000, .flags = READ_WRITE },
	{ .size = PAGE_SIZE, .flags = READ_WRITE | VFIO_REGION_INFO_FLAG_MMAP },
};

/*
 * One page, pinned as long as it is copied. vfio_dma_rw() would not pin it, and
 * would not meet the limits that a device which keeps its pages meets.
 */
static int dma_copy(struct mdevtest_device *dev, u64 iova, bool to_memory)
{
	void *buffer = dev->regions[BUFFER].memory;
	struct page *page;
	void *memory;
	int ret;

	if (!PAGE_ALIGNED(iova))
		return -EINVAL;
	atomic_inc(&dev->pinned);
	ret = vfio_pin_pages(&dev->vdev, iova, 1,
			     to_memory ? IOMMU_READ | IOMMU_WRITE : IOMMU_READ,
			     &page);
	if (ret == 1) {
		memory = kmap_local_page(page);
		if (to_memory)
			memcpy(memory, buffer, PAGE_SIZE);
		else
			memcpy(buffer, memory, PAGE_SIZE);
		kunmap_local(memory);
		vfio_unpin_pages(&dev->vdev, iova, 1);
		ret = 0;
	} else if (ret >= 0) {
		ret = -EFAULT;
	}
	atomic_dec(&dev->pinned);
	return ret;
}

/*
 * Pages are unpinned by whoever pinned them, at once. The kernel asks a few
 * times without pause and then gives up in a bad way, hence the pause; it has
 * an end because another unmap may hold the lock that unpinning needs.
 */
static void dma_unmap(struct mdevtest_device *dev)
{
	int tries;

	for (tries = 0; tries < 10 && atomic_read(&dev->pinned); tries++)
		msleep(10);
}

static void dma_access(struct mdevtest_device *dev, u32 index, u32 offset,
		       void *value, u32 width, bool write)
{
	u32 *registers = dev->regions[REGISTERS].memory;
	u32 command;

	mdevtest_ram_access(dev, index, offset, value, width, write);
	if (index != REGISTERS || !write || offset != REG_DOORBELL)
		return;
	command = registers[REG_DOORBELL / 4];
	registers[REG_DOORBELL / 4] = 0;
	if (command != FROM_MEMORY && command != TO_MEMORY)
		registers[REG_STATUS / 4] = EINVAL;
	else
		registers[REG_STATUS / 4] =
			-dma_copy(dev, *(u64 *)&registers[REG_IOVA / 4],
				  command == TO_MEMORY);
}

static void dma_prepare(struct mdevtest_device *dev)
{
	*(u32 *)dev->regions[REGISTERS].memory = IDENTITY;
}

static void dma_reset(struct mdevtest_device *dev)
{
	mdevtest_ram_clear(dev, REGISTERS);
	mdevtest_ram_clear(dev, BUFFER);
	dma_prepare(dev);
}

const struct mdevtest_model mdevtest_dma = {
	.flags = VFIO_DEVICE_FLAGS_PLATFORM | VFIO_DEVICE_FLAGS_RESET,
	.num_regions = ARRAY_SIZE(dma_regions),
	.first_region = REGISTERS,
	.regions = dma_regions,
	.prepare = dma_prepare,
	.access = dma_access,
	.reset = dma_reset,
	.dma_unmap = dma_unmap,
};
