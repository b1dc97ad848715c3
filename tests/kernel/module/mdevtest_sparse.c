// SPDX-License-Identifier: GPL-2.0-only
/*
 * A PCI device whose BARs exercise every rule about mappings: sparse areas,
 * holes with registers, an empty sparse capability, a BAR below page size.
 */
#include <linux/pci_regs.h>
#include <linux/unaligned.h>

#include "mdevtest.h"

#define READ_WRITE (VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE)
#define MAPPABLE (READ_WRITE | VFIO_REGION_INFO_FLAG_MMAP)

#define REGS_BAR	VFIO_PCI_BAR0_REGION_INDEX
#define MSIX_BAR	VFIO_PCI_BAR1_REGION_INDEX
#define CONFIG		VFIO_PCI_CONFIG_REGION_INDEX
#define TYPED		VFIO_PCI_NUM_REGIONS

/* Registers at the start of REGS_BAR, in the hole before the first area. */
#define REG_ID		0x00
#define REG_ACCESSES	0x04
#define REG_SCRATCH	0x08
#define REG_DOORBELL	0x0c
#define REG_DOORBELLS	0x10
#define REGS_SIZE	0x14
#define ID_VALUE	0x73706172

#define VENDOR_CAP	0x40
#define MSIX_CAP	0x50
#define MSIX_TABLE	0x2000
#define MSIX_PBA	0x3000
#define MSIX_VECTORS	MDEVTEST_MAX_VECTORS

/* Not sorted, on purpose. */
static const struct vfio_region_sparse_mmap_area regs_bar_areas[] = {
	{ .offset = 0x3000, .size = 0x2000 },
	{ .offset = 0x1000, .size = 0x1000 },
	{ .offset = 0x6000, .size = 0x1000 },
};

static int add_msix_mappable(struct vfio_info_cap *caps)
{
	struct vfio_info_cap_header cap = {
		.id = VFIO_REGION_INFO_CAP_MSIX_MAPPABLE,
		.version = 1,
	};

	return vfio_info_add_capability(caps, &cap, sizeof(cap));
}

/* An id that no header names comes first: it is to be skipped. */
static int add_unknown_and_type(struct vfio_info_cap *caps)
{
	struct {
		struct vfio_info_cap_header header;
		u64 payload;
	} unknown = {
		.header = { .id = 0x7fff, .version = 1 },
		.payload = 0x0123456789abcdefULL,
	};
	struct vfio_region_info_cap_type type = {
		.header = { .id = VFIO_REGION_INFO_CAP_TYPE, .version = 1 },
		.type = VFIO_REGION_TYPE_PCI_VENDOR_TYPE | 0x6d64,
		.subtype = 1,
	};
	int ret;

	ret = vfio_info_add_capability(caps, &unknown.header, sizeof(unknown));
	if (ret)
		return ret;
	return vfio_info_add_capability(caps, &type.header, sizeof(type));
}

static const struct mdevtest_region_desc sparse_regions[] = {
	[REGS_BAR] = {
		.size = 0x8000,
		.flags = MAPPABLE,
		.sparse = true,
		.areas = regs_bar_areas,
		.nr_areas = ARRAY_SIZE(regs_bar_areas),
	},
	[MSIX_BAR] = {
		.size = 0x4000,
		.flags = MAPPABLE,
		.add_caps = add_msix_mappable,
	},
	[VFIO_PCI_BAR2_REGION_INDEX] = { .size = 0x1000, .flags = READ_WRITE },
	[VFIO_PCI_BAR3_REGION_INDEX] = {
		.size = 0x2000,
		.flags = MAPPABLE,
		.sparse = true,
	},
	[VFIO_PCI_BAR4_REGION_INDEX] = { .size = 0x100, .flags = MAPPABLE },
	[CONFIG] = { .size = 0x100, .flags = READ_WRITE },
	[VFIO_PCI_VGA_REGION_INDEX] = { .absent = true },
	[TYPED] = {
		.size = 0x2000,
		.flags = VFIO_REGION_INFO_FLAG_READ |
			 VFIO_REGION_INFO_FLAG_MMAP,
		.add_caps = add_unknown_and_type,
	},
};

static const struct mdevtest_irq_desc sparse_irqs[VFIO_PCI_NUM_IRQS] = {
	[VFIO_PCI_MSIX_IRQ_INDEX] = {
		.count = MSIX_VECTORS,
		.flags = VFIO_IRQ_INFO_EVENTFD,
	},
	[VFIO_PCI_REQ_IRQ_INDEX] = {
		.count = 1,
		.flags = VFIO_IRQ_INFO_EVENTFD,
	},
};

static u32 reg_read(struct mdevtest_device *dev, u32 reg)
{
	switch (reg) {
	case REG_ID:
		return ID_VALUE;
	case REG_ACCESSES:
		return dev->accesses;
	case REG_SCRATCH:
		return dev->scratch;
	case REG_DOORBELLS:
		return dev->doorbells;
	}
	return 0;
}

static void reg_write(struct mdevtest_device *dev, u32 reg, u32 value)
{
	switch (reg) {
	case REG_SCRATCH:
		dev->scratch = value;
		break;
	case REG_DOORBELL:
		dev->doorbells++;
		mdevtest_irq_fire(dev, VFIO_PCI_MSIX_IRQ_INDEX, value);
		break;
	}
}

/*
 * The part of an access that falls into one 32-bit register. A narrow write
 * replaces only its own bytes of what the register reads.
 */
static void reg_access(struct mdevtest_device *dev, u32 offset, void *value,
		       u32 width, bool write)
{
	u32 reg = round_down(offset, 4);
	__le32 raw = cpu_to_le32(reg_read(dev, reg));

	if (write) {
		memcpy((u8 *)&raw + offset - reg, value, width);
		reg_write(dev, reg, le32_to_cpu(raw));
	} else {
		memcpy(value, (u8 *)&raw + offset - reg, width);
	}
}

static void regs_bar_access(struct mdevtest_device *dev, u32 offset,
			    void *value, u32 width, bool write)
{
	u32 done, part = min(width, 4);

	dev->accesses++;
	if (offset >= REGS_SIZE) {
		mdevtest_ram_access(dev, REGS_BAR, offset, value, width, write);
		return;
	}
	for (done = 0; done < width; done += part) {
		if (offset + done < REGS_SIZE)
			reg_access(dev, offset + done, value + done, part, write);
		else
			mdevtest_ram_access(dev, REGS_BAR, offset + done,
					    value + done, part, write);
	}
}

/* The bits of one byte of the config space that a write changes. */
static u8 config_writable(u32 offset)
{
	u32 bar, size;

	switch (offset) {
	case PCI_COMMAND:
		return PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	case PCI_COMMAND + 1:
		return PCI_COMMAND_INTX_DISABLE >> 8;
	case PCI_INTERRUPT_LINE:
		return 0xff;
	case PCI_BASE_ADDRESS_0 ... PCI_BASE_ADDRESS_5 + 3:
		bar = (offset - PCI_BASE_ADDRESS_0) / 4;
		size = sparse_regions[bar].size;
		/* Address bits below the size read 0: that tells the size. */
		return size ? ~(size - 1) >> offset % 4 * 8 : 0;
	}
	return 0;
}

static void config_access(struct mdevtest_device *dev, u32 offset, u8 *value,
			  u32 width, bool write)
{
	u8 *config = dev->regions[CONFIG].memory;
	u32 i;

	for (i = 0; i < width; i++) {
		u8 *byte = &config[offset + i];
		u8 writable = config_writable(offset + i);

		if (write)
			*byte = (*byte & ~writable) | (value[i] & writable);
		else
			value[i] = *byte;
	}
}

static void config_init(u8 *config)
{
	put_unaligned_le16(0x6d64, config + PCI_VENDOR_ID);
	put_unaligned_le16(0x7370, config + PCI_DEVICE_ID);
	put_unaligned_le16(PCI_STATUS_CAP_LIST, config + PCI_STATUS);
	/* Class 08 80 00 over revision 1. */
	put_unaligned_le32(0x08800001, config + PCI_CLASS_REVISION);
	put_unaligned_le16(0x6d64, config + PCI_SUBSYSTEM_VENDOR_ID);
	put_unaligned_le16(0x0001, config + PCI_SUBSYSTEM_ID);
	config[PCI_CAPABILITY_LIST] = VENDOR_CAP;

	config[VENDOR_CAP + PCI_CAP_LIST_ID] = PCI_CAP_ID_VNDR;
	config[VENDOR_CAP + PCI_CAP_LIST_NEXT] = MSIX_CAP;
	config[VENDOR_CAP + 2] = MSIX_CAP - VENDOR_CAP;

	config[MSIX_CAP + PCI_CAP_LIST_ID] = PCI_CAP_ID_MSIX;
	put_unaligned_le16(MSIX_VECTORS - 1, config + MSIX_CAP + PCI_MSIX_FLAGS);
	put_unaligned_le32(MSIX_TABLE | MSIX_BAR,
			   config + MSIX_CAP + PCI_MSIX_TABLE);
	put_unaligned_le32(MSIX_PBA | MSIX_BAR, config + MSIX_CAP + PCI_MSIX_PBA);
}

static void sparse_prepare(struct mdevtest_device *dev)
{
	u8 *typed = dev->regions[TYPED].memory;
	u32 i;

	config_init(dev->regions[CONFIG].memory);
	for (i = 0; i < sparse_regions[TYPED].size / 4; i++)
		put_unaligned_le32(i ^ 0x5a5a5a5a, typed + i * 4);
}

static void sparse_region_access(struct mdevtest_device *dev, u32 index, u32 offset,
			  void *value, u32 width, bool write)
{
	if (index == CONFIG)
		config_access(dev, offset, value, width, write);
	else if (index == REGS_BAR)
		regs_bar_access(dev, offset, value, width, write);
	else
		mdevtest_ram_access(dev, index, offset, value, width, write);
}

/* The config space keeps its values, as a user of vfio-pci sees it. */
static void sparse_device_reset(struct mdevtest_device *dev)
{
	u32 i;

	for (i = VFIO_PCI_BAR0_REGION_INDEX; i <= VFIO_PCI_BAR5_REGION_INDEX; i++)
		mdevtest_ram_clear(dev, i);
	dev->scratch = 0;
	dev->accesses = 0;
	dev->doorbells = 0;
}

const struct mdevtest_model mdevtest_sparse = {
	.flags = VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET,
	.num_regions = ARRAY_SIZE(sparse_regions),
	.num_irqs = ARRAY_SIZE(sparse_irqs),
	.first_region = CONFIG,
	.regions = sparse_regions,
	.irqs = sparse_irqs,
	.prepare = sparse_prepare,
	.access = sparse_region_access,
	.reset = sparse_device_reset,
};
